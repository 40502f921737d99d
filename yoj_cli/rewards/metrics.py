"""What is worth watching while a policy is trained on a judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from yoj_cli.rewards.chunks import Chunk
from yoj_cli.verdicts.verdict import Verdict


def batch_metrics(chunks: Sequence[Chunk], rewards: Sequence[float | None]) -> dict[str, float]:
    """What one call found; a figure that is not defined for any group is left out.

    Args:
        rewards: (R,) of all rows, those in no chunk among them.
    Returns:
        Those of `verdict_metrics`, and length_correlation; and shares of the rows: duplicates (of a completion that
        is read already), penalized, failed (no reward).
    """
    n = max(len(rewards), 1)
    pairs = [
        [(score, length) for score, length in zip(c.scores, c.lengths, strict=True) if score is not None]
        for c in chunks
    ]
    correlation = length_correlation(pairs)
    n_read = sum(place is not None for chunk in chunks for place in chunk.place)
    n_texts = sum(len(chunk.group.responses) for chunk in chunks if chunk.group is not None)
    verdicts = [chunk.judged.verdict for chunk in chunks if chunk.judged is not None]
    return {
        **verdict_metrics([verdict for verdict in verdicts if verdict is not None]),
        **({} if correlation is None else {"length_correlation": correlation}),
        "duplicates": (n_read - n_texts) / n,
        "penalized": sum(sum(chunk.is_penalized) for chunk in chunks) / n,
        "failed": sum(reward is None for reward in rewards) / n,
    }


def verdict_metrics(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Means over groups; a group of one different completion has nothing to compare.

    Returns:
        margin: best score minus second best.
        score_std: standard deviation (population) of the scores inside a group.
        ties: share of the pairs of different completions with one score.
        spread: standard deviation of a completion's score over orders, where several were read.
        order_sensitivity: share of the orders whose best is another, where several were read.
    """
    compared = [verdict for verdict in verdicts if len(verdict.scores) > 1]
    values: dict[str, list[float]] = {
        "margin": [_margin(verdict.scores) for verdict in compared],
        "score_std": [_std(verdict.scores) for verdict in compared],
        "ties": [_ties(verdict.scores) for verdict in compared],
        "spread": [fmean(verdict.spread) for verdict in compared if verdict.spread is not None],
        "order_sensitivity": [
            1 - verdict.order_agreement for verdict in compared if verdict.order_agreement is not None
        ],
    }
    return {name: fmean(each) for name, each in values.items() if each}


def length_correlation(groups: Sequence[Sequence[tuple[float, int]]]) -> float | None:
    """Pearson's r of score and length inside groups, its mean over those where both vary.

    Args:
        groups: of each the (score, characters) of its scored rows.
    """
    found = [r for r in (_pearson(group) for group in groups) if r is not None]
    return fmean(found) if found else None


def _margin(scores: Sequence[float]) -> float:
    best, second = sorted(scores, reverse=True)[:2]
    return best - second


def _std(scores: Sequence[float]) -> float:
    mean = fmean(scores)
    return math.sqrt(fmean((score - mean) ** 2 for score in scores))


def _ties(scores: Sequence[float]) -> float:
    return fmean(a == b for a, b in combinations(scores, 2))


def _pearson(pairs: Sequence[tuple[float, int]]) -> float | None:
    if len(pairs) < 2:
        return None
    x, y = zip(*pairs, strict=True)
    mean_x, mean_y = fmean(x), fmean(y)
    var_x = math.fsum((each - mean_x) ** 2 for each in x)
    var_y = math.fsum((each - mean_y) ** 2 for each in y)
    if var_x <= 0 or var_y <= 0:
        return None
    return math.fsum((a - mean_x) * (b - mean_y) for a, b in pairs) / math.sqrt(var_x * var_y)
