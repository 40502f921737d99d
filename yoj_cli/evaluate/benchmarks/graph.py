"""Preferences as a graph: pairs (better, worse) of responses, and the ranks and metric that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from yoj_cli.errors import InputError
from yoj_cli.evaluate.judged import Judged

Edge = tuple[int, int]


def rankings_of(n: int, edges: Iterable[Edge]) -> list[int]:
    """(n,) 1 + the number of responses that are better, directly or through others; equal counts tie.

    Raises:
        InputError: a response is better than itself through others.
    """
    better: list[set[int]] = [set() for _ in range(n)]
    for winner, loser in edges:
        better[loser].add(winner)
    for middle in range(n):  # Warshall
        for loser in range(n):
            if middle in better[loser]:
                better[loser] |= better[middle]
    if any(response in better[response] for response in range(n)):
        raise InputError("the preferences contradict each other")
    return [1 + len(each) for each in better]


def graph_tau(scores: Sequence[float], edges: Sequence[Edge]) -> float:
    """Tau-b over a graph's pairs: (right - reversed) / max(1, sqrt((right + reversed) * all)); a tie is neither.

    Source: thu-coai/IF-RewardBench, metrics/analysis_overall_assessment.py.
    """
    n_right = sum(scores[better] > scores[worse] for better, worse in edges)
    n_reversed = sum(scores[better] < scores[worse] for better, worse in edges)
    return (n_right - n_reversed) / max(1.0, math.sqrt((n_right + n_reversed) * len(edges)))


def edges_of(judged: Judged) -> list[Edge]:
    """The gold pairs of a group: its preferences, else all that its ranking orders."""
    if judged.preferences is not None:
        return list(judged.preferences)
    ranks = judged.rankings or ()
    return [(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]]
