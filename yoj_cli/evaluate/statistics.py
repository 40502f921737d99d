"""Intervals and tests: clustered bootstrap, Wilson, McNemar, the smallest difference that could have been found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoj_cli.evaluate.metrics import Floats, Metric, Unit

LEVEL = 0.95
N_RESAMPLES = 2000
POWER = 0.8
Z_LEVEL, Z_POWER = 1.959963984540054, 0.8416212335729143
"""Normal quantiles of LEVEL (two-sided) and POWER."""

CHUNK = 4_000_000
"""Weights that are held at a time."""

MAX_KEPT = 50_000_000
"""Weights that are kept for the next figures, of 2 bytes; more are drawn anew."""


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


class Resamples:
    """Bootstrap weights over clusters, the same for every figure of a run, so that differences are paired.

    Args:
        clusters: (n,) of each group; groups of one cluster are drawn together.
    """

    def __init__(self, clusters: Sequence[str], *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> None:
        names, places = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
        self.n_clusters = len(names)
        self.places: NDArray[np.intp] = places.reshape(-1)
        self.n_resamples, self.seed = n_resamples, seed
        self._kept: list[NDArray[np.uint16]] = []

    def cluster_sums(self, values: Floats) -> Floats:
        """(n, M) values of groups -> (C, M) sums of clusters."""
        sums = np.zeros((self.n_clusters, values.shape[1]))
        np.add.at(sums, self.places, values)
        return sums

    def weights(self) -> Iterator[Floats]:
        """(some, C) how often each cluster was drawn; together `n_resamples` rows, the same at each call."""
        drawn = self._kept or self._draw()
        if self.n_resamples * self.n_clusters <= MAX_KEPT and not self._kept:
            drawn = self._kept = list(drawn)
        for counts in drawn:
            yield counts.astype(np.float64)

    def _draw(self) -> Iterator[NDArray[np.uint16]]:
        rng = np.random.default_rng(self.seed)
        n_rows = max(1, CHUNK // max(1, self.n_clusters))
        for start in range(0, self.n_resamples, n_rows):
            rows = min(n_rows, self.n_resamples - start)
            drawn = rng.integers(self.n_clusters, size=(rows, self.n_clusters))
            drawn += np.arange(rows)[:, None] * self.n_clusters
            counts = np.bincount(drawn.reshape(-1), minlength=rows * self.n_clusters)
            yield counts.reshape(rows, self.n_clusters).astype(np.uint16)

    def totals(self, values: Floats) -> Floats:
        """(n, M) values of groups -> (n_resamples, M) totals of each resample."""
        sums = self.cluster_sums(values)
        totals: Floats = np.concatenate([weights @ sums for weights in self.weights()])
        return totals


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


def percentile_interval(distribution: Floats) -> tuple[float | None, float | None]:
    """The middle 95 % of a bootstrap distribution; None, None where it has no two values that count."""
    values = distribution[~np.isnan(distribution)]
    if len(values) < 2:
        return None, None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(n_hits: float, n: int) -> tuple[float, float]:
    """95 % interval of a share; (0, 1) where nothing was counted.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), pages 209-212.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = n_hits / n, Z_LEVEL**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_LEVEL / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


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
