"""Pretrain the demo judge's backbone: a tiny Molmo2 that tells right from wrong descriptions of drawn scenes.

    python examples/demo_judge/pretrain.py --minutes 30 --out backbone

All weights are trained from nothing, on groups made on the fly (see `scenes.py`), in two steps. First the eyes
alone: what does each cell of a frame show? Then, the eyes frozen, the language model, with three losses in one pass:
the words of the right response (not to the end), at every fact whether it fits, and the N-way cross-entropy at the
responses' ends. All heads are thrown away: what is kept is the backbone, and `yoj train` later puts LoRA and a fresh
value head on it.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import scenes
import torch
from batches import IGNORE, Batch, Encoder, heldout_batches, sample_sights, train_batches
from tiny_molmo2 import (
    CELLS,
    IMAGE_PX,
    PATCH_PX,
    POOL,
    SEPARATOR,
    build_model,
    build_processor,
    build_tokenizer,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Molmo2ForConditionalGeneration, Molmo2Model, Molmo2Processor

VOCAB_SIZE = 400


class Heads(nn.Module):
    """The temporary heads: score, (fits, right) at a fact, and (shape, colour, size, place) of a cell."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.score = nn.Linear(hidden, 1)
        self.marks = nn.Linear(hidden, 2)
        self.sizes = [*(1 + len(scenes.VALUES[fact]) for fact in ("shape", "colour", "size")), CELLS]
        self.cells = nn.Linear(hidden, sum(self.sizes))

    def sight_loss(self, features: Tensor, contents: Tensor) -> Tensor:
        """Cross-entropy (summed over shape, colour, size, place; nats) of (F * CELLS, H) features."""
        logits = self.cells(features.float()).split(self.sizes, dim=-1)
        pairs = zip(logits, contents.unbind(-1), strict=True)
        return torch.stack(
            [F.cross_entropy(given, wanted, ignore_index=IGNORE) for given, wanted in pairs]
        ).sum()

    def scores(self, states: Tensor, batch: Batch) -> Tensor:
        """(B, T, H) -> (B, N) scores, -inf where a group has fewer than N responses."""
        at_ends = states.gather(1, batch.ends[:, :, None].expand(-1, -1, self.hidden)).float()
        scores = self.score(at_ends)[:, :, 0] / math.sqrt(self.hidden)
        return scores.masked_fill(~batch.real, -math.inf)


def corpus(n_groups: int = 4000) -> Iterator[str]:
    """Text as it stands between special tokens, for the tokenizer to learn from."""
    for index in range(n_groups):
        group = scenes.sample_group(scenes.rng_for("train", 0, index), ("picture", "clip")[index % 2], 2)
        yield from (f"user\n{group.prompt}", "\n ", f"assistant\n{group.responses[0].text}\n\n")
        yield f"\n\n{group.responses[1].text}"


def patches(frames: Tensor) -> Tensor:
    """(F, 3, SIDE_PX, SIDE_PX) uint8 -> (F, patches, pixels) float32 as the processor makes them.

    Halving a picture with bilinear interpolation is the mean of 2 x 2 pixels, rounded.
    """
    halved = F.avg_pool2d(frames.float(), scenes.SIDE_PX // IMAGE_PX).round() / 127.5 - 1
    n, side = len(frames), IMAGE_PX // PATCH_PX
    tiles = halved.reshape(n, 3, side, PATCH_PX, side, PATCH_PX).permute(0, 2, 4, 3, 5, 1)
    return tiles.reshape(n, side * side, -1)


def see(model: Molmo2Model, frames: Tensor) -> Tensor:
    """(F, 3, SIDE_PX, SIDE_PX) -> (F * CELLS, H): a feature per cell, the same for a picture's two views."""
    side = IMAGE_PX // PATCH_PX
    grid = torch.arange(side * side, device=frames.device).reshape(side // POOL, POOL, side // POOL, POOL)
    windows = grid.transpose(1, 2).reshape(CELLS, POOL * POOL)
    offsets = torch.arange(len(frames), device=frames.device) * side * side
    pooling = (windows[None] + offsets[:, None, None]).reshape(-1, POOL * POOL)
    grids = torch.tensor([[len(frames) * CELLS, 1, 0, 0]], device=frames.device)
    return model.get_image_features(patches(frames), pooling, grids).pooler_output[0]


def read(model: Molmo2Model, batch: Batch) -> Tensor:
    """Last hidden states (B, T, H) of a batch."""
    features = see(model, batch.frames)
    seen = features[batch.media.clamp(min=0)] * (batch.media >= 0)[:, :, None]
    embeddings = model.get_input_embeddings()(batch.ids) + seen
    mask = torch.zeros(batch.mask.shape, dtype=seen.dtype, device=seen.device).masked_fill(~batch.mask, -1e9)
    return model.language_model(
        inputs_embeds=embeddings, attention_mask=mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state


def losses(
    model: Molmo2ForConditionalGeneration, heads: Heads, batch: Batch, words: bool
) -> dict[str, Tensor]:
    """The losses of one batch, each a mean in nats. `words` asks for the language modelling loss too."""
    states = read(model.model, batch)
    group, token, fits, right = batch.marks.unbind(-1)
    found = {
        "marks": F.binary_cross_entropy_with_logits(
            heads.marks(states[group, token].float()), torch.stack((fits, right), -1).float()
        ),
        "groups": F.cross_entropy(heads.scores(states, batch), batch.best),
    }
    if words:
        rows, columns = batch.caption.nonzero(as_tuple=True)
        keep = batch.caption[rows, columns - 1]  # the first word's place may lie in another branch
        logits = model.lm_head(states[rows[keep], columns[keep] - 1]).float()
        found["words"] = F.cross_entropy(logits, batch.ids[rows[keep], columns[keep]])
    return found


@torch.no_grad()
def best_of_n(
    model: Molmo2Model,
    heads: Heads,
    encoder: Encoder,
    kind: scenes.Kind,
    n_responses: int = 4,
    form: str = "joint",
    n_groups: int = 200,
    device: str = "cpu",
) -> float:
    """Share of held-out groups whose right response scores highest."""
    model.eval()
    hits = 0
    for batch in heldout_batches(encoder, kind, n_responses, form, n_groups):  # type: ignore[arg-type]
        batch = batch.to(device)
        states = read(model, batch)
        hits += int((heads.scores(states, batch).argmax(-1) == batch.best).sum())
    model.train()
    return hits / n_groups


def save(model: Molmo2ForConditionalGeneration, heads: Heads, processor: Molmo2Processor, out: Path) -> None:
    """Write the backbone (bfloat16, no language modelling head) with its processor, and the heads beside it."""
    backbone = Molmo2Model(model.config).to(torch.bfloat16)
    backbone.load_state_dict(model.model.state_dict())
    backbone.save_pretrained(out)
    processor.save_pretrained(out)
    torch.save(heads.state_dict(), heads_path(out))


def heads_path(folder: Path) -> Path:
    """Where the temporary heads of a backbone are kept: beside its folder."""
    return folder.with_name(folder.name + "_heads.pt")


def learning_rate(progress: float, peak: float) -> float:
    """Short warm-up, then a cosine down to a fiftieth. `progress` runs from 0 to 1."""
    return peak * min(1.0, progress / 0.02 + 0.02) * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)


def compile_layers(model: Molmo2ForConditionalGeneration) -> None:
    """Fuse what lies between the matrix products; on a CPU this and bfloat16 halve the time of a step.

    Plain attention, since the fused kernel's bfloat16 is slow on a CPU and the products here are small.
    """
    torch._dynamo.config.recompile_limit = 64
    model.set_attn_implementation("eager")
    for layer in model.model.language_model.layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)  # type: ignore[method-assign]


def learn_to_see(model: Molmo2Model, heads: Heads, args: argparse.Namespace) -> None:
    """Train only the eyes (vision tower and projector), on what each cell of a frame shows; then freeze them."""
    parameters = [
        *model.vision_tower.parameters(),
        *model.multi_modal_projector.parameters(),
        *heads.parameters(),
    ]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.02)
    start_s = time.monotonic()
    for step in count():
        progress = (time.monotonic() - start_s) / (60 * args.seeing_minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, args.lr)
        sights = sample_sights(scenes.rng_for("train", args.seed + 1, step), 96)
        loss = heads.sight_loss(see(model, sights.frames.to(args.device)), sights.contents.to(args.device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(json.dumps({"seeing_step": step, "cells": round(loss.item(), 4)}), flush=True)
    for parameter in (*model.vision_tower.parameters(), *model.multi_modal_projector.parameters()):
        parameter.requires_grad_(False)


def train(args: argparse.Namespace) -> None:
    """Train for `args.minutes`, printing a line of JSON now and then and saving as it goes."""
    torch.manual_seed(args.seed)
    processor = build_processor(build_tokenizer(corpus(), VOCAB_SIZE))
    encoder = Encoder(processor)
    model = build_model(processor.tokenizer, args.hidden, args.layers).to(args.device).train()
    heads = Heads(args.hidden).to(args.device)
    if args.fast:
        compile_layers(model)
    learn_to_see(model.model, heads, args)
    parameters = [p for p in (*model.parameters(), *heads.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.02)
    separator_id = processor.tokenizer.convert_tokens_to_ids(SEPARATOR)

    start_s = evaluated_s = time.monotonic()
    running: dict[str, float] = {}
    for step, batch in enumerate(train_batches(encoder, args.seed, args.batch_size, args.p_clip)):
        progress = (time.monotonic() - start_s) / (60 * args.minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, args.lr)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.fast):
            found = losses(model, heads, batch.to(args.device), words=progress < args.words_until)
        optimizer.zero_grad()
        (found["groups"] + 2 * found["marks"] + found.get("words", 0.0)).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.get_input_embeddings().weight[separator_id] = 0.0
        for name, loss in found.items():
            running[name] = 0.95 * running.get(name, loss.item()) + 0.05 * loss.item()
        if step == 20 or time.monotonic() - evaluated_s > args.report_s:
            evaluated_s = time.monotonic()
            report = {
                "step": step,
                "s": round(evaluated_s - start_s),
                **{k: round(v, 3) for k, v in running.items()},
            }
            for kind in ("picture", "clip"):
                for form in ("joint", "single"):
                    report[f"{kind}_{form}"] = best_of_n(
                        model.model, heads, encoder, kind, form=form, n_groups=100, device=args.device
                    )
            print(json.dumps(report), flush=True)
            save(model, heads, processor, args.out)
    save(model, heads, processor, args.out)


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the backbone")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="how long to train; the schedule follows it"
    )
    parser.add_argument(
        "--seeing-minutes", type=float, default=4.0, help="how long to train the eyes alone, before"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--fast", action="store_true", help="bfloat16 and torch.compile (needs a C++ compiler)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=24, help="groups in a step")
    parser.add_argument("--lr", type=float, default=1.2e-3, help="peak learning rate")
    parser.add_argument("--p-clip", type=float, default=0.4, help="share of groups about clips")
    parser.add_argument("--hidden", type=int, default=128, help="hidden size of the language model")
    parser.add_argument("--layers", type=int, default=4, help="layers of the language model")
    parser.add_argument(
        "--words-until", type=float, default=0.4, help="share of the time with a caption loss"
    )
    parser.add_argument("--report-s", type=float, default=120.0, help="seconds between reports")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
