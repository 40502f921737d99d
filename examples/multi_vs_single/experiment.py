"""One training run in memory, and what the judge does on held-out groups.

The parts are `yoj train`'s own: its model, sequences, losses, optimizer and schedule, and the forward pass of `yoj
score`. Groups of similar length share a pass, and a frozen picture is encoded once, so that a small machine gets
through many runs. What comes out is one JSON line for each reading, with the outcome of every held-out group.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from yoj_cli.config.train import TrainConfig
from yoj_cli.groups import Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import Plan, build_plan
from yoj_cli.scoring.batch import bucket_by_length
from yoj_cli.scoring.forward import batch_scores
from yoj_cli.scoring.vision_cache import VisionFeatureCache
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.train.data import shuffle_responses
from yoj_cli.train.losses import LOSSES
from yoj_cli.train.model import RewardModel, build_sequences, load_model
from yoj_cli.train.optimizer import build_optimizer, build_scheduler
from yoj_cli.train.starting_point import find_base

MICRO_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Setting:
    """One way to train.

    Attributes:
        name: row of the tables.
        options: of `yoj train`.
        orders: every group is read in this many orders, branches of one pass (multi).
        consistency: weight of the disagreement between those orders.
    """

    name: str
    options: dict[str, Any]
    orders: int = 1
    consistency: float = 0.0


def inconsistency(orders: Sequence[Sequence[int]], scores: Sequence[Tensor]) -> Tensor:
    """How far the orders of a group disagree: the variance over orders of each response's centred score, their mean.

    Args:
        orders: K orders of N responses.
        scores: K times (N,), each in its own order.
    Returns:
        () float32; 0 when all orders give the same margins.
    """
    centred = []
    for order, found in zip(orders, scores, strict=True):
        given = torch.empty_like(found).scatter(0, torch.tensor(order), found)  # (N,) in the group's order
        centred.append(given - given.mean())
    return torch.stack(centred).var(dim=0, correction=0).mean()


def group_loss(
    setting: Setting, loss: Callable[[Tensor, Tensor], Tensor], group: Group, plan: Plan, rows: list[Tensor]
) -> Tensor:
    """() nats: the mean over orders, and what their disagreement adds; `single`'s branches are one reading."""
    rankings = torch.tensor(group.rankings)
    if plan.mode == "single":
        return loss(torch.cat(rows), rankings)
    each = [loss(row, rankings[list(order)]) for row, order in zip(rows, plan.branches, strict=True)]
    total = torch.stack(each).mean()
    return total + setting.consistency * inconsistency(plan.branches, rows) if setting.consistency else total


class Run:
    """A setting with one seed.

    Args:
        base: folder of the backbone, or "demo".
    """

    def __init__(self, setting: Setting, seed: int, base: str) -> None:
        self.setting, self.seed = setting, seed
        self.config = TrainConfig(
            base=base, device="cpu", quant="none", gradient_checkpointing=False, seed=seed, **setting.options
        )
        self.model: RewardModel = load_model(self.config, find_base(self.config))
        self.builder: SequenceBuilder = build_sequences(self.config, self.model.backbone)
        self._cache = VisionFeatureCache()
        self._media = MediaOptions()

    def forward(self, sequences: Sequence[PackedSequence]) -> list[list[Tensor]]:
        """Scores of every branch of some sequences, in one pass."""
        return batch_scores(self.model.backbone, self.model.head, sequences, vision_cache=self._cache)

    def prepare(self, group: Group, **plan: Any) -> tuple[Group, Plan, PackedSequence]:
        """A group with its plan and sequence."""
        built = build_plan(len(group.responses), **plan)
        return group, built, self.builder.prepare(group, built, self._media)

    def train(self, groups: Sequence[Group], max_steps: int | None = None) -> list[dict[str, float]]:
        """Train as the configuration says; a line for each step: loss (nats), spread of scores, gradient norm."""
        config, model = self.config, self.model
        n_per_epoch = len(groups) // config.batch_size
        n_steps = min(n_per_epoch * config.epochs, max_steps or n_per_epoch * config.epochs)
        optimizer = build_optimizer(model, config)
        scheduler = build_scheduler(optimizer, config, n_steps)
        parameters = [p for p in model.parameters() if p.requires_grad]
        model.train()
        lines = []
        for step in range(n_steps):
            epoch, place = divmod(step, n_per_epoch)
            order = Random(f"{self.seed} {epoch}").sample(range(len(groups)), len(groups))
            chosen = [groups[i] for i in order[place * config.batch_size : (place + 1) * config.batch_size]]
            line = self._add_gradients(chosen, epoch)
            line["grad_norm"] = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            lines.append({"step": step + 1, **{name: round(value, 5) for name, value in line.items()}})
        model.eval()
        return lines

    def _add_gradients(self, groups: Sequence[Group], epoch: int) -> dict[str, float]:
        loss_of = LOSSES[self.config.resolved_loss]
        orders = self.setting.orders
        items = [
            self.prepare(shuffle_responses(group, self.seed, epoch), mode=self.config.mode, orders=orders)
            for group in groups
        ]
        total, spread = 0.0, 0.0
        for batch in batches([sequence for *_, sequence in items]):
            found = self.forward([items[i][2] for i in batch])
            losses = [
                group_loss(self.setting, loss_of, *items[i][:2], rows)
                for i, rows in zip(batch, found, strict=True)
            ]
            loss = torch.stack(losses).sum() / len(groups)
            loss.backward()
            total += loss.item()
            spread += sum(float(torch.cat(rows).detach().std(correction=0)) for rows in found) / len(groups)
        return {"loss": total, "spread": spread}

    @torch.inference_mode()
    def measure(self, groups: Sequence[Group], reading: str) -> dict[str, str]:
        """Whether the best response wins ("1" a group), and (joint) whether another does when the order is reversed."""
        orders = 2 if reading == "multi" else 1
        items = [self.prepare(group, mode=reading, orders=orders) for group in groups]
        hits, flips = ["0"] * len(items), ["0"] * len(items)
        for batch in batches([sequence for *_, sequence in items]):
            for index, rows in zip(batch, self.forward([items[i][2] for i in batch]), strict=True):
                group, plan, _ = items[index]
                given = torch.cat(rows) if reading == "single" else rows[0]
                winner = int(given.argmax())
                hits[index] = str(int((group.rankings or ())[winner] == 1))
                if reading == "multi":
                    flips[index] = str(int(plan.branches[1][int(rows[1].argmax())] != winner))
        return {"hits": "".join(hits), **({"flips": "".join(flips)} if reading == "multi" else {})}


def batches(sequences: Sequence[PackedSequence]) -> Iterator[list[int]]:
    """Indices of sequences of similar length, up to a budget of tokens."""
    kinds = [tuple(sequence.media_inputs) for sequence in sequences]
    yield from bucket_by_length([s.n_tokens for s in sequences], kinds, MICRO_BATCH_TOKENS)


def run_once(
    path: Path,
    setting: Setting,
    seed: int,
    base: str,
    groups: Sequence[Group],
    held_out: dict[str, Sequence[Group]],
    *,
    readings: Sequence[str] = ("multi", "single"),
    max_steps: int | None = None,
) -> None:
    """Train and measure, unless the results are there already; lines are written when all of them are known."""
    known = [(row["name"], row["seed"]) for row in read_lines(path)]
    if (setting.name, seed) in known:
        return
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    run = Run(setting, seed, base)
    steps = run.train(groups, max_steps)
    train_s, train_cpu_s = time.monotonic() - started_s, time.process_time() - started_cpu_s
    about = {"name": setting.name, "seed": seed}
    lines: list[dict[str, Any]] = [
        {**about, "test": test, "reading": reading, **run.measure(found, reading), **number_prompts(found)}
        for test, found in held_out.items()
        for reading in readings
    ]
    settings = asdict(setting) | {
        "n_groups": len(groups),
        "train_s": round(train_s),
        "train_cpu_s": round(train_cpu_s),
        "run_s": round(time.monotonic() - started_s),
        "run_cpu_s": round(time.process_time() - started_cpu_s),
    }
    lines.append({**about, "setting": settings, "steps": thin(steps)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    shares = {
        f"{x['test']} {x['reading']}": round(x["hits"].count("1") / len(x["hits"]), 3) for x in lines[:-1]
    }
    print(
        json.dumps({**about, "s": settings["run_s"], "loss": steps[-1]["loss"], **shares}),
        flush=True,
    )


def number_prompts(groups: Sequence[Group]) -> dict[str, list[int]]:
    """The number of each group's prompt, where several groups share one; nothing where none do."""
    distinct = list(dict.fromkeys(group.messages for group in groups))
    numbers = [distinct.index(group.messages) for group in groups]
    return {} if len(distinct) == len(groups) else {"prompts": numbers}


def thin(steps: Sequence[dict[str, float]], n: int = 20) -> list[dict[str, float]]:
    """About n of the lines, means of as many neighbours, so that the file stays small."""
    width = max(1, len(steps) // n)
    parts = [steps[start : start + width] for start in range(0, len(steps), width)]
    return [{name: round(sum(s[name] for s in part) / len(part), 5) for name in part[0]} for part in parts]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none where it is not there."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )
