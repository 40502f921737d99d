"""95 % intervals of figures over groups: a bootstrap over clusters, and Wilson's for shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

LEVEL = 0.95
N_RESAMPLES = 2000
Z_LEVEL = 1.959963984540054
"""Normal quantile of LEVEL (two-sided)."""

CHUNK = 4_000_000
"""Weights that are held at a time."""

MAX_KEPT = 50_000_000
"""Weights that are kept for the next figures, of 2 bytes; more are drawn anew."""


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
