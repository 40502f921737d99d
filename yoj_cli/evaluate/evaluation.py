"""Everything that is said about one judge on one set of groups, from its verdicts alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoj_cli.evaluate.benchmark import Benchmark, Published
from yoj_cli.evaluate.calibration import (
    Calibration,
    RiskCoverage,
    measure_calibration,
    measure_risk,
)
from yoj_cli.evaluate.correlation import correlations
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import (
    Metric,
    agreements,
    best_of_n,
    first_wins,
    longest_wins,
    pooled_accuracy,
)
from yoj_cli.evaluate.positions import Flips, PositionTable, measure_flips, measure_positions
from yoj_cli.evaluate.statistics import Figure, compute
from yoj_cli.verdicts.intervals import Resamples

MAX_CATEGORIES = 40
"""More are counted and not tabulated."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good one judge is on one set of groups.

    Attributes:
        name, title: of the benchmark or file.
        scorer: what judged: a model's name, or a file of scores.
        reading: in words, in which order the responses were read.
        judge: its description; empty for a file of scores.
        n_groups: all, with those that failed or have no ranking to compare with.
        n_clusters: prompts among the groups that figures are about.
        headline: the figures of the benchmark, the published one first.
        figures: those of every run besides.
        chance: best of N of a blind pick.
        categories: the first headline figure within each category; () where there is one, or too many.
        n_categories: how many there are.
        baselines: ("longest wins", its headline figures), ("first in the file wins", …).
        positions: () where the places are unknown or have no meaning.
        flips: None where only one order was read.
        published: what others printed for the benchmark.
        note: what is uncertain about the benchmark.
    """

    name: str
    title: str
    scorer: str
    reading: str
    n_groups: int
    n_failed: int
    n_unranked: int
    n_clusters: int
    headline: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    chance: float
    categories: tuple[tuple[str, Figure], ...]
    n_categories: int
    baselines: tuple[tuple[str, tuple[Figure, ...]], ...]
    calibration: Calibration
    risk: RiskCoverage
    positions: tuple[PositionTable, ...]
    flips: Flips | None
    published: tuple[Published, ...] = ()
    note: str = ""
    judge: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_gold(self) -> int:
        """Groups that the figures are about."""
        return self.n_groups - self.n_failed - self.n_unranked


def evaluate(
    judged: Sequence[Judged],
    benchmark: Benchmark,
    *,
    scorer: str = "",
    reading: str = "",
    judge: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Compute every figure.

    Args:
        judged: all groups, also those that failed.
        scorer, reading, judge: see `Evaluation`.
    """
    gold = [each for each in judged if each.is_gold]
    n_failed = sum(not each.scores for each in judged)
    resamples = Resamples([each.cluster for each in gold])
    headline = list(benchmark.headline(gold))
    names = {metric.name for metric in headline}
    general = [best_of_n(gold), pooled_accuracy(gold), *correlations(gold)]
    general = [metric for metric in general if metric.name not in names]
    rules = {"longest wins": longest_wins(gold), "first in the file wins": first_wins(gold)}
    baselines = {name: list(benchmark.headline(scored)) for name, scored in rules.items()}

    found = iter(compute([*headline, *general, *(m for each in baselines.values() for m in each)], resamples))

    def take(metrics: Sequence[Metric]) -> tuple[Figure, ...]:
        return tuple(next(found) for _ in metrics)

    p_best, rankings = [each.p_best for each in gold], [each.rankings or () for each in gold]
    categories = sorted({each.category for each in gold})
    return Evaluation(
        name=benchmark.name,
        title=benchmark.title,
        scorer=scorer,
        reading=reading,
        n_groups=len(judged),
        n_failed=n_failed,
        n_unranked=len(judged) - n_failed - len(gold),
        n_clusters=resamples.n_clusters,
        headline=take(headline),
        figures=take(general),
        chance=_chance(gold),
        categories=_by_category(gold, categories, benchmark),
        n_categories=len(categories),
        baselines=tuple((name, take(metrics)) for name, metrics in baselines.items()),
        calibration=measure_calibration(p_best, rankings, resamples),
        risk=measure_risk(p_best, rankings, resamples),
        positions=measure_positions(judged),
        flips=measure_flips(judged),
        published=benchmark.published,
        note=benchmark.note,
        judge=judge or {},
    )


def _by_category(
    gold: Sequence[Judged], categories: Sequence[str], benchmark: Benchmark
) -> tuple[tuple[str, Figure], ...]:
    if not 1 < len(categories) <= MAX_CATEGORIES:
        return ()
    found = []
    for category in categories:
        inside = [each for each in gold if each.category == category]
        metric = benchmark.headline(inside)[0]
        found.append((category, compute([metric], Resamples([each.cluster for each in inside]))[0]))
    return tuple(found)


def _chance(gold: Sequence[Judged]) -> float:
    chances = [one.chance for one in agreements(gold) if one.chance is not None]
    return math.fsum(chances) / len(chances) if chances else math.nan
