"""How good a judge is on held-out groups: agreement with their rankings, loss, and how much order matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from yoj_cli.config.train import Loss
from yoj_cli.errors import YojError
from yoj_cli.groups import Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import Mode, Plan, build_plan
from yoj_cli.scoring.engine import Engine
from yoj_cli.scoring.prefetch import Prefetcher
from yoj_cli.scoring.stream import PREFETCHED_BATCHES
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.train.losses import LOSSES, RankingLoss
from yoj_cli.verdicts.agreement import agreement
from yoj_cli.verdicts.intervals import Resamples, percentile_interval, wilson

SHARES = ("eval_best_of_n", "eval_pairs", "eval_flipped")


@dataclass(frozen=True)
class Outcome:
    """One held-out group.

    Attributes:
        scores: (N,) in the order given.
        rankings: (N,).
        loss: nats.
        prompt: groups of one prompt are drawn together for intervals.
        flipped: whether another response wins when the responses are read in reverse.
    """

    scores: tuple[float, ...]
    rankings: tuple[float, ...]
    loss: float
    flipped: bool
    prompt: str


@dataclass(frozen=True)
class HeldOut:
    """A group to be scored in the order given and (multi) in reverse.

    Attributes:
        sequences: one with all branches of the plan; or one a branch, where they are longer than the backbone's window.
    """

    group: Group
    plan: Plan
    sequences: tuple[PackedSequence, ...]

    @property
    def n_tokens(self) -> int:
        return sum(sequence.n_tokens for sequence in self.sequences)


def evaluate(
    engine: Engine,
    builder: SequenceBuilder,
    groups: Sequence[Group],
    media: MediaOptions,
    *,
    mode: Mode,
    loss: Loss,
) -> list[Outcome]:
    """Score held-out groups, in the order given and (multi) in reverse, as `yoj score` does.

    Args:
        media: the limits of media.
    Raises:
        YojError: a group cannot be scored.
    """

    def prepare(group: Group) -> HeldOut:
        plan = build_plan(len(group.responses), mode=mode, orders=2 if mode == "multi" else 1)
        sequence = builder.prepare(group, plan, media)
        if mode == "single" or (is_apart and (window is None or sequence.n_tokens <= window)):
            return HeldOut(group, plan, (sequence,))
        alone = (replace(plan, branches=(branch,)) for branch in plan.branches)
        return HeldOut(group, plan, tuple(builder.prepare(group, each, media) for each in alone))

    outcomes: list[Outcome] = []
    window, is_apart = engine.backbone.attention_window, engine.backbone.keeps_branches_apart
    max_tokens = PREFETCHED_BATCHES * engine.limits.max_batch_tokens
    with Prefetcher(prepare, groups, size=lambda one: one.n_tokens, max_size=max_tokens) as stream:
        while taken := stream.take():
            parts = [(one, sequence) for one in taken for sequence in one.sequences]
            values: dict[int, list[list[float]]] = {}  # of each part, by branch
            for batch in engine.bucket({place: sequence for place, (_, sequence) in enumerate(parts)}):
                scored = engine.score([parts[place][1] for place in batch])
                for place, found in zip(batch, scored, strict=True):
                    if isinstance(found, YojError):
                        raise found.at(parts[place][0].group.where)
                    values[place] = found.values
            in_order = iter(values[place] for place in range(len(parts)))
            for one in taken:
                branches = [branch for _ in one.sequences for branch in next(in_order)]
                outcomes.append(_conclude(one, branches, mode, LOSSES[loss]))
    return outcomes


def _conclude(one: HeldOut, values: list[list[float]], mode: Mode, loss: RankingLoss) -> Outcome:
    """What the scores of all branches say of a group."""
    given = [value for branch in values for value in branch] if mode == "single" else values[0]
    winner = given.index(max(given))
    last = winner if mode == "single" else one.plan.branches[-1][values[-1].index(max(values[-1]))]
    rankings = one.group.rankings or ()
    nats = loss(torch.tensor(given), torch.tensor(rankings))
    return Outcome(tuple(given), rankings, float(nats), last != winner, repr(one.group.messages))


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means over held-out groups, under the names of metrics.jsonl.

    Returns:
        eval_loss (nats), eval_best_of_n, eval_chance, eval_pairs (pooled), eval_tau (tau-b), eval_flipped (share
        of groups whose winner changes when the responses are reversed), eval_n_groups; and for all but chance, with
        _low and _high, the 95 % interval of a bootstrap over prompts, or Wilson's where a share is 0 or 1. A single
        prompt has none.
    """
    found = [agreement(outcome.scores, outcome.rankings) for outcome in outcomes]
    counts = {  # per group: what is added up, and over what
        "eval_loss": [(outcome.loss, 1) for outcome in outcomes],
        "eval_best_of_n": [(one.best or 0.0, 1) for one in found],
        "eval_chance": [(one.chance or 0.0, 1) for one in found],
        "eval_pairs": [(one.n_right, one.n_pairs) for one in found],
        "eval_tau": [(one.tau or 0.0, 1) for one in found],
        "eval_flipped": [(float(outcome.flipped), 1) for outcome in outcomes],
    }
    sums = np.array(list(counts.values()), dtype=np.float64)  # (figures, groups, 2)
    values = sums.sum(axis=1)[:, 0] / sums.sum(axis=1)[:, 1]
    summary = dict(zip(counts, values.tolist(), strict=True))
    resamples = Resamples([outcome.prompt for outcome in outcomes])
    if resamples.n_clusters > 1:
        totals = resamples.totals(
            sums.transpose(1, 0, 2).reshape(len(outcomes), -1)
        )  # (resamples, figures * 2)
        for place, name in enumerate(counts):
            low, high = percentile_interval(totals[:, 2 * place] / totals[:, 2 * place + 1])
            if low is None or high is None or name == "eval_chance":
                continue
            if low == high and low in (0, 1) and name in SHARES:
                low, high = wilson(low * resamples.n_clusters, resamples.n_clusters)
            summary |= {f"{name}_low": low, f"{name}_high": high}
    return summary | {"eval_n_groups": len(outcomes)}
