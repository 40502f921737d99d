"""How good a judge is on held-out groups: agreement with their rankings, loss, and how much order matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoj_cli.config.train import Loss
from yoj_cli.groups import Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import Mode, Plan, build_plan
from yoj_cli.scoring.prefetch import Prefetcher
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.train.losses import LOSSES
from yoj_cli.verdicts.agreement import Summary, agreement


@dataclass(frozen=True)
class Outcome:
    """One held-out group.

    Attributes:
        scores: (N,) in the order given.
        rankings: (N,).
        loss: nats.
        flipped: whether another response wins when the responses are read in reverse.
    """

    scores: tuple[float, ...]
    rankings: tuple[float, ...]
    loss: float
    flipped: bool


@torch.inference_mode()
def evaluate(
    forward: Callable[[PackedSequence], list[Tensor]],
    builder: SequenceBuilder,
    groups: Sequence[Group],
    media: MediaOptions,
    *,
    mode: Mode,
    loss: Loss,
) -> list[Outcome]:
    """Score held-out groups, in the order given and (multi) in reverse, in one pass each.

    Args:
        forward: scores a sequence; for each branch, (responses in it,) float32.
        media: the limits of media.
    """

    def prepare(group: Group) -> tuple[tuple[float, ...], Plan, PackedSequence]:
        plan = build_plan(len(group.responses), mode=mode, orders=2 if mode == "multi" else 1)
        return group.rankings or (), plan, builder.prepare(group, plan, media)

    outcomes = []
    with Prefetcher(prepare, groups) as stream:
        for rankings, plan, sequence in stream:
            branches = forward(sequence)
            # One wait for the device: what follows is no work for it.
            found = torch.split(torch.cat(branches).cpu(), [len(branch) for branch in branches])
            given = torch.cat(found) if mode == "single" else found[0]
            winner = int(given.argmax())
            last = plan.branches[-1][int(found[-1].argmax())] if mode == "multi" else winner
            nats = LOSSES[loss](given, torch.tensor(rankings))
            outcomes.append(Outcome(tuple(given.tolist()), rankings, float(nats), last != winner))
    return outcomes


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means over held-out groups, under the names of metrics.jsonl.

    Returns:
        eval_loss (nats), eval_best_of_n, eval_chance, eval_pairs (pooled), eval_tau (tau-b), eval_flipped (share
        of groups whose winner changes when the responses are reversed), eval_n_groups.
    """
    summary = Summary()
    for outcome in outcomes:
        summary.add_agreement(agreement(outcome.scores, outcome.rankings))
    mean = summary.agreement
    assert mean is not None, "groups whose ranking teaches nothing are left out before"
    return {
        "eval_loss": sum(outcome.loss for outcome in outcomes) / len(outcomes),
        "eval_best_of_n": mean.best,
        "eval_chance": mean.chance,
        "eval_pairs": mean.pairs,
        "eval_tau": mean.tau,
        "eval_flipped": sum(outcome.flipped for outcome in outcomes) / len(outcomes),
        "eval_n_groups": len(outcomes),
    }
