"""Kendall's and Spearman's correlation of scores with whole rankings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Floats, Metric, agreements, mean_of

WHOLE = 3
"""Ranks that a ranking must tell apart to be whole: of fewer, a correlation says no more than accuracy."""


def is_whole(each: Judged) -> bool:
    return len(set(each.rankings or ())) >= WHOLE


def correlations(judged: Sequence[Judged]) -> list[Metric]:
    """Means of tau-b and rho over the groups with a whole ranking; nothing where there are none."""
    if not any(is_whole(each) for each in judged):
        return []
    whole = np.array([is_whole(each) for each in judged])
    taus = [one.tau if one.tau is not None else math.nan for one in agreements(judged)]
    return [
        mean_of("Kendall's tau-b, whole rankings", np.where(whole, taus, np.nan), unit="tau"),
        mean_of("Spearman's rho, whole rankings", np.where(whole, spearman(judged), np.nan), unit="tau"),
    ]


def spearman(judged: Sequence[Judged]) -> list[float]:
    """Each group's rho between scores and rankings, ties at their mean rank; 0 where all scores tie.

    Source: C. Spearman, The American Journal of Psychology 15 (1904), pages 72-101.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, each in enumerate(judged):
        by_size[len(each.scores)].append(place)
    found = np.zeros(len(judged))
    for places in by_size.values():
        scores = _centred_ranks([judged[place].scores for place in places])
        golds = -_centred_ranks([judged[place].rankings or () for place in places])  # 1 is the best
        norms = np.sqrt((scores**2).sum(axis=1) * (golds**2).sum(axis=1))
        rhos = np.divide((scores * golds).sum(axis=1), norms, out=np.zeros(len(places)), where=norms > 0)
        found[places] = rhos
    return [float(rho) for rho in found]


def _centred_ranks(values: Sequence[Sequence[float]]) -> Floats:
    """(n, N) values -> (n, N) ascending ranks minus their mean; ties at their mean rank."""
    rows = np.array(values, dtype=np.float64)
    signs = np.sign(rows[:, :, None] - rows[:, None, :])
    return np.asarray(signs.sum(axis=2) / 2, dtype=np.float64)
