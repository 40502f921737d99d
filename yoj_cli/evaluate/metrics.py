"""Metrics as benchmarks define them, each a weighted sum of means over groups, so that one bootstrap serves all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from yoj_cli.evaluate.judged import Judged
from yoj_cli.verdicts.agreement import Agreement, agreement

Floats = NDArray[np.float64]
Unit = Literal["share", "tau", "nats", "squared", "score"]


@dataclass(frozen=True, slots=True)
class Term:
    """weight * sum(numerators) / sum(denominators).

    Attributes:
        name: of the part, such as a category.
        numerators, denominators: (n,) of each group; 0 and 0 where the term is not about it.
    """

    name: str
    weight: float
    numerators: Floats
    denominators: Floats


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure before it is computed: the sum of its terms.

    Attributes:
        name: with the way of averaging: "macro accuracy over 3 groups".
        terms: each over the same n groups.
        n: what it counts, see `counted`.
        counted: "groups", "pairs" or "prompts".
        n_ties: of these, how many the scores leave tied in a way that matters.
        ties: how they are counted.
    """

    name: str
    terms: tuple[Term, ...]
    n: int
    counted: str
    n_ties: int = 0
    ties: str = ""
    unit: Unit = "share"


def agreements(judged: Sequence[Judged]) -> list[Agreement]:
    """How each group's scores agree with its rankings."""
    return [agreement_of(each.scores, each.rankings or ()) for each in judged]


@lru_cache(maxsize=1 << 18)
def agreement_of(scores: tuple[float, ...], rankings: tuple[float, ...]) -> Agreement:
    """`agreement`, which a dozen figures of a run ask for the same groups."""
    return agreement(scores, rankings)


def mean_of(
    name: str,
    values: Sequence[float] | Floats,
    *,
    counted: str = "groups",
    unit: Unit = "share",
    n_ties: int = 0,
    ties: str = "",
) -> Metric:
    """The plain mean of one value a group; NaN for a group that has none.

    Args:
        values: (n,).
    """
    found = np.asarray(values, dtype=np.float64)
    there = ~np.isnan(found)
    term = Term("", 1.0, np.where(there, found, 0.0), there.astype(np.float64))
    return Metric(name, (term,), int(there.sum()), counted, n_ties, ties, unit)


def best_of_n(judged: Sequence[Judged], name: str = "best of N") -> Metric:
    """Share of groups whose top-scored response is a best one; k responses tied at the top count 1/k each."""
    found = agreements(judged)
    values = [one.best if one.best is not None else np.nan for one in found]
    n_ties = sum(
        one.best is not None and each.scores.count(max(each.scores)) > 1
        for one, each in zip(found, judged, strict=True)
    )
    return mean_of(name, values, n_ties=n_ties, ties="k tied at the top count 1/k each")


def pooled_accuracy(judged: Sequence[Judged], name: str = "pooled pairwise accuracy") -> Metric:
    """Right pairs over all pairs that the rankings order strictly; a pair whose scores tie is wrong."""
    found = agreements(judged)
    term = Term("", 1.0, _right(found), _pairs(found))
    return Metric(
        name, (term,), sum(one.n_pairs for one in found), "pairs", _tied_pairs(judged), "a tie is wrong"
    )


def macro_accuracy(
    judged: Sequence[Judged],
    name: str | None = None,
    *,
    by: Callable[[Judged], str] = lambda each: each.category,
) -> Metric:
    """The plain mean, over categories, of pairwise accuracy pooled within each; a pair whose scores tie is wrong."""
    found = agreements(judged)
    right, pairs = _right(found), _pairs(found)
    names = np.array([by(each) for each in judged], dtype=object)
    categories = sorted(set(names.tolist()))
    terms = tuple(
        Term(category, 1 / len(categories), right * (names == category), pairs * (names == category))
        for category in categories
    )
    name = name or f"macro pairwise accuracy over {len(categories)} groups"
    return Metric(name, terms, int(pairs.sum()), "pairs", _tied_pairs(judged), "a tie is wrong")


def accuracy_plus(judged: Sequence[Judged], name: str = "ACC+ (all pairs of a prompt right)") -> Metric:
    """Share of clusters all of whose pairs are right."""
    found = agreements(judged)
    first: dict[str, int] = {}
    wrong: set[str] = set()
    for place, (each, one) in enumerate(zip(judged, found, strict=True)):
        first.setdefault(each.cluster, place)
        if one.n_right < one.n_pairs:
            wrong.add(each.cluster)
    values = np.full(len(judged), np.nan)
    for cluster, place in first.items():
        values[place] = cluster not in wrong
    return mean_of(name, values, counted="prompts", n_ties=_tied_pairs(judged), ties="a tie is wrong")


def mean_tau(judged: Sequence[Judged], name: str = "Kendall's tau-b") -> Metric:
    """Mean over groups of tau-b between scores and rankings; 0 where all scores tie."""
    values = [one.tau if one.tau is not None else np.nan for one in agreements(judged)]
    return mean_of(name, values, unit="tau", n_ties=_tied_pairs(judged), ties="as tau-b counts them")


def scored_by(judged: Sequence[Judged], score: Callable[[Judged], Sequence[float]]) -> list[Judged]:
    """The same groups as another rule would score them: for baselines."""
    return [replace(each, scores=tuple(map(float, score(each)))) for each in judged]


def longest_wins(judged: Sequence[Judged]) -> list[Judged]:
    """As one who always takes the longest response (in characters)."""
    return scored_by(judged, lambda each: each.lengths)


def first_wins(judged: Sequence[Judged]) -> list[Judged]:
    """As one who always takes what the file has first: what its fixed gold positions would give away."""
    return scored_by(judged, lambda each: range(0, -len(each.scores), -1))


def _right(found: Sequence[Agreement]) -> Floats:
    return np.array([one.n_right for one in found], dtype=np.float64)


def _pairs(found: Sequence[Agreement]) -> Floats:
    return np.array([one.n_pairs for one in found], dtype=np.float64)


def _tied_pairs(judged: Sequence[Judged]) -> int:
    """Pairs that the rankings order and the scores do not."""
    n_tied = 0
    for each in judged:
        if len(set(each.scores)) < len(each.scores) and each.rankings is not None:
            n_tied += sum(
                each.scores[i] == each.scores[j] and each.rankings[i] != each.rankings[j]
                for i in range(len(each.scores))
                for j in range(i)
            )
    return n_tied
