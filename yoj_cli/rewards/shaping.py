"""From a group's scores to its rewards: length, normalization, penalties."""

from __future__ import annotations

import math
from collections.abc import Sequence

from yoj_cli.config.rewards import Normalize
from yoj_cli.verdicts.verdict import p_best

CHARACTERS = 1000
"""What a length penalty is counted by."""


def shape(
    scores: Sequence[float | None],
    lengths: Sequence[int],
    is_penalized: Sequence[bool],
    *,
    normalize: Normalize = "none",
    temperature: float = 1.0,
    length_penalty: float = 0.0,
    penalty: float = 1.0,
) -> list[float | None]:
    """The rewards of one group.

    Args:
        scores: (G,) of the judge, None where it gave none.
        lengths: (G,) characters.
        is_penalized: (G,) whether a row gets the penalty, whatever its score.
        temperature: of P(best).
        length_penalty: points for each 1,000 characters above the mean of the rows that are scored.
        penalty: how far below the lowest reward, or below 0 where there is none.
    Returns:
        (G,) None for a row without score or penalty.
    """
    scored = [i for i, score in enumerate(scores) if score is not None and not is_penalized[i]]
    values = [float(scores[i] or 0.0) for i in scored]
    if length_penalty and scored:
        mean = math.fsum(lengths[i] for i in scored) / len(scored)
        pairs = zip(values, scored, strict=True)
        values = [value - length_penalty * (lengths[i] - mean) / CHARACTERS for value, i in pairs]
    values = _normalize(values, normalize, temperature)
    rewards: list[float | None] = [None] * len(scores)
    for i, value in zip(scored, values, strict=True):
        rewards[i] = value
    floor = min(values, default=0.0) - penalty
    return [floor if is_penalized[i] else reward for i, reward in enumerate(rewards)]


def neutral(rewards: Sequence[float | None]) -> list[float]:
    """The rewards of a group for a trainer that wants a number for each: a row without one gets the mean of the others.

    That is an advantage of 0: it neither pulls nor pushes. Where no row has one, all are 0.
    """
    known = [reward for reward in rewards if reward is not None]
    mean = math.fsum(known) / len(known) if known else 0.0
    return [mean if reward is None else reward for reward in rewards]


def _normalize(values: list[float], how: Normalize, temperature: float) -> list[float]:
    if not values or how == "none":
        return values
    if how == "softmax":
        return list(p_best(values, temperature))
    if how == "center":
        mean = math.fsum(values) / len(values)
        return [value - mean for value in values]
    if len(values) == 1:
        return [0.5]
    others = len(values) - 1
    return [
        (sum(each < value for each in values) + (sum(each == value for each in values) - 1) / 2) / others
        for value in values
    ]
