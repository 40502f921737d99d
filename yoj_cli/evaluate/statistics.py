"""Figures with intervals, and tests: McNemar, the smallest difference that could have been found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yoj_cli.evaluate.metrics import Floats, Metric, Unit
from yoj_cli.verdicts.intervals import Z_LEVEL, Resamples, percentile_interval, wilson

POWER = 0.8
Z_POWER = 0.8416212335729143
"""Normal quantile of POWER."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval.

    Attributes:
        value: NaN where there is nothing to count.
        low, high: None where there is too little to resample (one cluster), or nothing.
        n, counted, n_ties, ties: see `Metric`.
        parts: the figure's terms by name, without intervals; such as accuracy by category.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    counted: str
    n_ties: int = 0
    ties: str = ""
    unit: Unit = "share"
    parts: tuple[tuple[str, float, float], ...] = ()


def compute(metrics: Sequence[Metric], resamples: Resamples) -> list[Figure]:
    """The figures of metrics with percentile intervals of a bootstrap over clusters.

    Where all is right or all is wrong, resamples tell nothing, and Wilson's interval over clusters takes their place.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters as in A. C.
    Cameron, J. B. Gelbach, D. L. Miller, The Review of Economics and Statistics 90 (2008).
    """
    if resamples.n_clusters < 2:  # nothing to resample
        return [_figure(metric, np.zeros(0), 0) for metric in metrics]
    distributions = distributions_of(metrics, resamples)
    n = resamples.n_clusters
    return [_figure(metric, values, n) for metric, values in zip(metrics, distributions, strict=True)]


def distributions_of(metrics: Sequence[Metric], resamples: Resamples) -> list[Floats]:
    """Each metric's values over the resamples: (n_resamples,); NaN where a resample has nothing to count."""
    terms = [term for metric in metrics for term in metric.terms]
    if not terms:
        return [np.zeros(0) for _ in metrics]
    columns = np.stack([column for term in terms for column in (term.numerators, term.denominators)], axis=1)
    totals = resamples.totals(columns)
    found, at = [], 0
    for metric in metrics:
        width = 2 * len(metric.terms)
        weights = np.array([term.weight for term in metric.terms])
        found.append(_combine(totals[:, at : at + width : 2], totals[:, at + 1 : at + width : 2], weights))
        at += width
    return found


def value_of(metric: Metric) -> float:
    """The figure itself; NaN where there is nothing to count."""
    numerators = np.array([[term.numerators.sum() for term in metric.terms]])
    denominators = np.array([[term.denominators.sum() for term in metric.terms]])
    return float(_combine(numerators, denominators, np.array([term.weight for term in metric.terms]))[0])


def _combine(numerators: Floats, denominators: Floats, weights: Floats) -> Floats:
    """(B, terms) sums -> (B,) weighted sums of ratios; a term without a case in a resample leaves its weight to
    the others."""
    there = denominators > 0
    ratios = np.divide(numerators, denominators, out=np.zeros_like(numerators), where=there)
    kept = there @ weights
    means: Floats = np.divide(ratios @ weights, kept, out=np.full(len(kept), np.nan), where=kept > 0)
    return means * float(weights.sum())


def _figure(metric: Metric, distribution: Floats, n_clusters: int) -> Figure:
    low, high = percentile_interval(distribution)
    if metric.unit == "share" and low == high and low in (0, 1):
        low, high = wilson(low * n_clusters, n_clusters)
    parts = tuple(
        (term.name, float(term.numerators.sum() / total), float(total))
        for term in metric.terms
        if (total := term.denominators.sum()) > 0 and len(metric.terms) > 1
    )
    return Figure(
        metric.name,
        value_of(metric),
        low,
        high,
        metric.n,
        metric.counted,
        metric.n_ties,
        metric.ties,
        metric.unit,
        parts,
    )


def smallest_difference(share: float, n_1: int, n_2: int) -> float:
    """The smallest difference of two shares that n_1 and n_2 cases show with 80 % power at the 5 % level.

    Args:
        share: what both would be without a difference.
    Returns:
        NaN where one side has no cases.
    """
    if not n_1 or not n_2:
        return float("nan")
    spread = max(share * (1 - share), 1 / (n_1 + n_2) / 4)
    return float((Z_LEVEL + Z_POWER) * np.sqrt(spread * (1 / n_1 + 1 / n_2)))


def mcnemar(n_first_only: int, n_second_only: int) -> float:
    """Exact two-sided p of as uneven a split of the groups that only one of two judges got right.

    Source: Q. McNemar, Psychometrika 12 (1947), pages 153-157, with the binomial distribution itself.
    """
    from scipy.stats import binomtest

    n = n_first_only + n_second_only
    return float(binomtest(n_first_only, n, 0.5).pvalue) if n else 1.0
