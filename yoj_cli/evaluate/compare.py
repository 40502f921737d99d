"""Two judges on the same groups: paired differences, McNemar, where they differ, and the groups that flip."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Floats, Metric, Unit, agreement_of, best_of_n, pooled_accuracy
from yoj_cli.evaluate.positions import winners
from yoj_cli.evaluate.statistics import distributions_of, mcnemar, value_of
from yoj_cli.verdicts.intervals import Resamples, percentile_interval


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both judges.

    Attributes:
        difference: second minus first, with its interval (bootstrap over prompts, both judges drawn together).
        p: two-sided, by the same bootstrap; None where there is nothing to resample.
    """

    name: str
    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    unit: Unit = "share"


@dataclass(frozen=True, slots=True)
class Flipped:
    """A group that only one of the two got right.

    Attributes:
        id, where: as in the first run.
        better: 1 or 2: who was right.
        first_best, second_best: index of each one's winner.
        margin: how sure the one that was wrong was: its winner's P(best) minus that of the best one of the gold.
    """

    id: str
    where: str
    category: str
    better: int
    first_best: int
    second_best: int
    margin: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two judges on the groups that both scored.

    Attributes:
        n_common: groups with a ranking that both scored; the figures are about them.
        n_first_only, n_second_only: groups that the other one has not, or has not scored.
        differences: of the benchmark's figures, and best of N.
        n_same_winner: groups in which both have the same winner, right or wrong.
        only_first_right, only_second_right: McNemar's two counts (groups; a tie at the top is not right).
        mcnemar_p: exact, two-sided.
        categories: the first figure within each category, largest difference first.
        flipped: groups that only one got right, the most certain mistake first.
    """

    n_common: int
    n_first_only: int
    n_second_only: int
    differences: tuple[Difference, ...]
    n_same_winner: int
    only_first_right: int
    only_second_right: int
    mcnemar_p: float
    categories: tuple[Difference, ...]
    flipped: tuple[Flipped, ...]


def compare(first: Sequence[Judged], second: Sequence[Judged], benchmark: Benchmark) -> Comparison:
    """Compare two runs on the same groups.

    Groups are the same if their id, prompt and responses are, whatever the order of the lines.

    Raises:
        InputError: they have no group in common that has a ranking.
    """
    pairs, n_first_only, n_second_only = match(first, second)
    if not pairs:
        raise InputError(
            "the two runs have no ranked group in common",
            hint="Compare runs on the same file or benchmark, and the same --limit.",
        )
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    flipped = sorted(filter(None, map(_flip, ours, theirs)), key=lambda each: -each.margin)
    n_first = sum(each.better == 1 for each in flipped)
    return Comparison(
        n_common=len(pairs),
        n_first_only=n_first_only,
        n_second_only=n_second_only,
        differences=_differences(ours, theirs, benchmark),
        n_same_winner=sum(winners(one.scores) == winners(other.scores) for one, other in pairs),
        only_first_right=n_first,
        only_second_right=len(flipped) - n_first,
        mcnemar_p=mcnemar(n_first, len(flipped) - n_first),
        categories=_by_category(ours, theirs, benchmark),
        flipped=tuple(flipped),
    )


def match(first: Iterable[Judged], second: Iterable[Judged]) -> tuple[list[tuple[Judged, Judged]], int, int]:
    """Pairs of the same ranked group, in the first one's order, and how many each has alone."""
    waiting: dict[str, list[Judged]] = defaultdict(list)
    n_second = 0
    for each in second:
        if each.is_gold:
            n_second += 1
            waiting[identity_of(each)].append(each)
    pairs, n_first = [], 0
    for each in first:
        if each.is_gold:
            n_first += 1
            if found := waiting[identity_of(each)]:
                pairs.append((each, found.pop(0)))
    return pairs, n_first - len(pairs), n_second - len(pairs)


def is_right(each: Judged) -> bool:
    """Its top-scored response is a best one; where several tie at the top, all of them are."""
    return agreement_of(each.scores, each.rankings or ()).best == 1


def identity_of(each: Judged) -> str:
    """A digest of id and texts; media are left out, as their paths differ between machines."""
    group = each.group
    turns = [(turn.role, *filter(_is_text, turn.blocks)) for turn in group.messages] if group else []
    what = (each.id, turns, group.responses if group else ())
    return hashlib.sha256(repr(what).encode("utf-8", "surrogatepass")).hexdigest()


def _is_text(block: object) -> bool:
    return isinstance(block, str)


def _differences(
    first: Sequence[Judged], second: Sequence[Judged], benchmark: Benchmark
) -> tuple[Difference, ...]:
    def metrics_of(judged: Sequence[Judged]) -> list[Metric]:
        headline = list(benchmark.headline(judged))
        names = Counter(metric.name for metric in headline)
        return headline + [m for m in (best_of_n(judged), pooled_accuracy(judged)) if m.name not in names]

    return _paired(metrics_of(first), metrics_of(second), Resamples([each.cluster for each in first]))


def _by_category(
    first: Sequence[Judged], second: Sequence[Judged], benchmark: Benchmark
) -> tuple[Difference, ...]:
    found = []
    categories = sorted({each.category for each in first})
    for category in categories if len(categories) > 1 else ():
        inside = [place for place, each in enumerate(first) if each.category == category]
        ours, theirs = [first[place] for place in inside], [second[place] for place in inside]
        metrics = [benchmark.headline(ours)[0]], [benchmark.headline(theirs)[0]]
        (difference,) = _paired(*metrics, Resamples([each.cluster for each in ours]), name=category)
        found.append(difference)
    return tuple(sorted(found, key=lambda each: -abs(each.difference)))


def _paired(
    first: Sequence[Metric], second: Sequence[Metric], resamples: Resamples, name: str = ""
) -> tuple[Difference, ...]:
    both = distributions_of([*first, *second], resamples) if resamples.n_clusters > 1 else None
    found = []
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        a, b = value_of(one), value_of(other)
        low = high = p = None
        if both is not None:
            values = both[len(first) + place] - both[place]
            low, high = percentile_interval(values)
            p = _p_value(values)
        found.append(Difference(name or one.name, a, b, b - a, low, high, p, one.unit))
    return tuple(found)


def _p_value(differences: Floats) -> float | None:
    """Twice the share of resamples on the other side of 0, at least 1 / (B + 1)."""
    values = differences[~np.isnan(differences)]
    if not len(values):
        return None
    n_below, n_above = int((values <= 0).sum()), int((values >= 0).sum())
    return min(1.0, 2 * (min(n_below, n_above) + 1) / (len(values) + 1))


def _flip(one: Judged, other: Judged) -> Flipped | None:
    right = is_right(one), is_right(other)
    if right[0] == right[1]:
        return None
    wrong = other if right[0] else one
    rankings = wrong.rankings or ()
    gold = max(p for p, rank in zip(wrong.p_best, rankings, strict=True) if rank == min(rankings))
    margin = max(wrong.p_best) - gold
    best = [each.scores.index(max(each.scores)) for each in (one, other)]
    return Flipped(one.id, one.where, one.category, 1 if right[0] else 2, best[0], best[1], margin)
