"""Training a judge: LoRA and a value head on a frozen, quantized backbone, one forward pass per group.

The forward path is the scorer's own; what is particular to training is the loss, the optimizer and the
shuffling of responses. Source of the recipe: arXiv 2604.10966 and its released code.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from yoj_cli.config import JudgeConfig, TrainConfig
from yoj_cli.errors import InputError, ModelError, UsageError
from yoj_cli.inputs.media import MediaOptions, load
from yoj_cli.inputs.records import Failure, Group, read_groups
from yoj_cli.judge.adapter import add_adapter
from yoj_cli.judge.ahead import map_ahead
from yoj_cli.judge.backbone import Backbone, load_backbone, resolve_device
from yoj_cli.judge.checkpoint import DEFAULT_SEPARATOR, REWARD_CONFIG, save_checkpoint
from yoj_cli.judge.files import find_folder
from yoj_cli.judge.head import HeadConfig, ValueHead
from yoj_cli.judge.judge import AHEAD, DEFAULT_MAX_TOKENS
from yoj_cli.judge.layout import Layout, LayoutBuilder
from yoj_cli.judge.scorer import branch_scores
from yoj_cli.plan import build_plan

SEPARATOR_TOKEN = "<|resp_sep|>"


@dataclass(frozen=True)
class Progress:
    """What a training step reports.

    Attributes:
        step: optimizer steps done, of `n_steps`.
        loss: mean loss of the step's groups, nats.
        accuracy: share of the step's groups whose best response scored highest.
    """

    step: int
    n_steps: int
    loss: float
    accuracy: float


def n_way_cross_entropy(scores: Tensor, best: Tensor) -> Tensor:
    """Loss for picking a best response out of a group; with two responses it is Bradley-Terry.

    Args:
        scores: (N,) float32 logits.
        best: (N,) bool, True where the ranking is 1; tied best responses share the target equally.
    Returns:
        () float32, nats; log(N) when all scores are equal.
    Raises:
        ValueError: if no response is marked best.
    Source: arXiv 2604.10966, section on training.
    """
    if not bool(best.any()):
        raise ValueError("no response is marked best")
    return -scores.log_softmax(dim=0)[best].mean()


def train(
    data: Sequence[Path], out: Path, config: TrainConfig, *, report: Callable[[Progress], None]
) -> None:
    """Train an adapter and a value head, and write them to `out` as a checkpoint.

    Args:
        data: JSON Lines files whose lines have rankings (or are chosen/rejected pairs).
        out: a folder that is made if need be; it must not hold a checkpoint already. A base model that lies
            inside it is referred to by its relative path, so the folder can be moved as a whole.
        report: called after every optimizer step.
    Raises:
        InputError: a line without a ranking, or one that cannot be read or laid out.
        ModelError: the base model cannot be used, or the loss is no number.
    """
    check_output(out)
    groups = read_ranked(data, config.limit)
    torch.manual_seed(config.seed)
    backbone = _load_base(config)
    adapter = add_adapter(backbone, r=config.lora_r, alpha=config.lora_alpha, dropout=config.lora_dropout)
    head = ValueHead(
        HeadConfig("mlp", config.head_dim, "silu", backbone.hidden_size, math.sqrt(backbone.hidden_size))
    ).to(backbone.device)
    parameters = [*(p for p in backbone.model.parameters() if p.requires_grad), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    n_steps = config.epochs * math.ceil(len(groups) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / n_steps)
    batches = _batches(config, groups, backbone)
    for step in range(1, n_steps + 1):
        losses, hits = [], []
        batch = next(batches)
        for group, layout, n_batch in batch:
            scores = branch_scores(backbone, head, layout)[0]
            best = torch.tensor(_is_best(group), device=scores.device)
            loss = n_way_cross_entropy(scores, best)
            if not torch.isfinite(loss):
                raise ModelError("the loss is no number", where=group.where, hint="Lower --learning-rate.")
            (loss / n_batch).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.item())
            hits.append(float(best[scores.argmax()]))
        nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        report(Progress(step, n_steps, sum(losses) / len(losses), sum(hits) / len(hits)))
    out.mkdir(parents=True, exist_ok=True)
    base = Path(config.base).resolve()
    inside = base.is_dir() and base.is_relative_to(out.resolve())
    name = str(base.relative_to(out.resolve())) if inside else str(base) if base.is_dir() else config.base
    save_checkpoint(
        out, backbone, head, adapter, base_model=name, separator=DEFAULT_SEPARATOR, role="assistant"
    )


def read_ranked(paths: Sequence[Path], limit: int | None) -> list[tuple[Group, Path]]:
    """All groups of some files, each with a ranking that tells its responses apart, and the file's folder.

    Raises:
        InputError: the first line that has no such ranking or cannot be read.
    """
    groups: list[tuple[Group, Path]] = []
    for path in paths:
        for item in read_groups(str(path)):
            if isinstance(item, Failure):
                raise item.error
            if item.rankings is None:
                raise InputError("the line has no 'rankings' to learn from", where=item.where)
            if len(set(item.rankings)) < 2:
                raise InputError("all responses share one rank; there is nothing to learn", where=item.where)
            groups.append((item, path.parent))
            if len(groups) == limit:
                return groups
    if not groups:
        raise InputError("no groups to train on", where=", ".join(map(str, paths)))
    return groups


def _load_base(config: TrainConfig) -> Backbone:
    judge = JudgeConfig(model=config.base, device=config.device, quant=config.quant, dtype=config.dtype)
    device = resolve_device(judge, embedded=False, ways_out="Try `--device cpu` (slow).")
    folder = find_folder(config.base, config.base_revision)
    backbone = load_backbone(folder, judge, device, processor_folder=folder)
    # An id beyond the embedding would need a row of its own; the separator's stays as the base has it.
    backbone.tokenizer.add_special_tokens({"additional_special_tokens": [SEPARATOR_TOKEN]})
    n_rows = backbone.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    if backbone.tokenizer.convert_tokens_to_ids(SEPARATOR_TOKEN) >= n_rows:
        raise ModelError(f"the base has no free embedding row for {SEPARATOR_TOKEN}", where=str(folder))
    return backbone


def _batches(
    config: TrainConfig, groups: Sequence[tuple[Group, Path]], backbone: Backbone
) -> Iterator[Iterator[tuple[Group, Layout, int]]]:
    """Batches of laid out groups for all epochs, shuffled anew in each, the next ones prepared ahead."""
    max_tokens = config.max_tokens or DEFAULT_MAX_TOKENS
    builder = LayoutBuilder(backbone, DEFAULT_SEPARATOR, "assistant", max_tokens, where=config.base)

    def prepare(item: tuple[Group, Path]) -> tuple[Group, Layout]:
        group, folder = item
        options = MediaOptions(root=folder, max_frames=config.max_frames)
        try:
            media = [load(medium, options) for medium in group.media]
            return group, builder.build(group, media, build_plan(len(group.responses)))
        except InputError as error:
            error.at(group.where)
            raise

    shuffler = random.Random(config.seed)
    for _ in range(config.epochs):
        order = shuffler.sample(groups, len(groups))
        if config.shuffle_responses:
            order = [(_shuffle_responses(group, shuffler), folder) for group, folder in order]
        prepared = map_ahead(prepare, order, n_ahead=AHEAD)
        for start in range(0, len(order), config.batch_size):
            n_batch = min(config.batch_size, len(order) - start)
            yield ((*next(prepared)(), n_batch) for _ in range(n_batch))


def _shuffle_responses(group: Group, shuffler: random.Random) -> Group:
    """The same group in another order, so that a response's place says nothing about its rank."""
    order = shuffler.sample(range(len(group.responses)), len(group.responses))
    rankings = group.rankings or ()
    return replace(
        group,
        responses=tuple(group.responses[index] for index in order),
        rankings=tuple(rankings[index] for index in order),
    )


def _is_best(group: Group) -> list[bool]:
    rankings = group.rankings or ()
    return [rank == min(rankings) for rank in rankings]


def check_output(out: Path) -> None:
    """Refuse to write over a checkpoint.

    Raises:
        UsageError: there is one in the folder, or the path is a file.
    """
    if (out / REWARD_CONFIG).exists() or out.is_file():
        raise UsageError("exists already", where=str(out), hint="Give a new folder with -o.")
