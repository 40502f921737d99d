"""Scores of all branches to one score per response, and how far they moved between branches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from yoj_cli.plan.branches import Plan
from yoj_cli.plan.orders import Order


def join(
    plan: Plan, branch_scores: Sequence[Sequence[float]]
) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    """One score per response, and how far it moved between branches.

    Args:
        plan: the branches that were read.
        branch_scores: for each branch the scores in the branch's own order.
    Returns:
        scores: (N,). One branch or `single`: the raw scores, bit for bit. Else the x of the least squares
            x[i] + c[b] = s[b, i] with sum(x) = 0, rounded to float32 as the scores that went in.
        spread: (N,) standard deviation (population) of s[b, i] - c[b] over the branches that read response i;
            0.0 where one did. None for one branch or `single`.
    Raises:
        ValueError: if the scores do not fit the branches.
    """
    n_expected, n_given = [len(branch) for branch in plan.branches], [len(scores) for scores in branch_scores]
    if n_expected != n_given:
        raise ValueError(f"branches of {n_expected} responses, but scores for {n_given}")
    if plan.mode == "single" or len(plan.branches) == 1:
        raw: dict[int, float] = {}
        for branch, scores in _pairs(plan, branch_scores):
            raw.update(zip(branch, scores, strict=True))
        return tuple(raw[i] for i in range(plan.n)), None
    if all(len(branch) == plan.n for branch in plan.branches):
        x = [0.0] * plan.n
    else:
        x = _solve_windows(plan, branch_scores)
    values: list[list[float]] = [[] for _ in range(plan.n)]
    for branch, scores in _pairs(plan, branch_scores):
        offset = math.fsum(s - x[i] for i, s in zip(branch, scores, strict=True)) / len(branch)
        for i, s in zip(branch, scores, strict=True):
            values[i].append(s - offset)
    # The normal equations say that x[i] is the mean of its values; for full orders that is how it is found.
    means = [math.fsum(column) / len(column) for column in values]
    spread = [
        math.sqrt(math.fsum((v - mean) ** 2 for v in column) / len(column))
        for column, mean in zip(values, means, strict=True)
    ]
    return _to_float32(means), _to_float32(spread)


def order_agreement(
    plan: Plan, branch_scores: Sequence[Sequence[float]], scores: Sequence[float]
) -> float | None:
    """The share of a group's orders whose own best response is the best one of the joined scores.

    An order counts 1 if the two are the same and 0 if not. Where several responses tie at the top, it counts by
    how much the two sets overlap: those in both over those in either.

    Args:
        branch_scores: for each branch the scores in the branch's own order.
        scores: (N,) from `join`.
    Returns:
        0.0 to 1.0, and 1.0 exactly where all orders have the same best. None where there are no two orders of the
        whole group to compare: one branch, `single`, or windows (a window has no say on what it does not read).
    """
    if len(plan.branches) == 1 or any(len(branch) < plan.n for branch in plan.branches):
        return None
    best = _best(range(plan.n), scores)
    overlaps = []
    for branch, values in _pairs(plan, branch_scores):
        own = _best(branch, values)
        overlaps.append(len(own & best) / len(own | best))
    return math.fsum(overlaps) / len(overlaps)


def _best(responses: Iterable[int], scores: Sequence[float]) -> set[int]:
    highest = max(scores)
    return {i for i, score in zip(responses, scores, strict=True) if score == highest}


def _pairs(plan: Plan, branch_scores: Sequence[Sequence[float]]) -> Iterable[tuple[Order, Sequence[float]]]:
    return zip(plan.branches, branch_scores, strict=True)


def _solve_windows(plan: Plan, branch_scores: Sequence[Sequence[float]]) -> list[float]:
    """The x of `join` for windows, by least squares.

    Subtracting each branch's mean from both sides eliminates its offset c. What is left determines x up to one
    constant, because all windows are connected; of these solutions the one of minimum norm has sum(x) = 0.
    """
    import numpy as np

    equations, values = [], []
    for branch, scores in _pairs(plan, branch_scores):
        rows = np.eye(plan.n)[list(branch)]
        equations.append(rows - rows.mean(axis=0))
        values.append(np.subtract(scores, np.mean(scores)))
    x = np.linalg.lstsq(np.concatenate(equations), np.concatenate(values), rcond=None)[0]
    return [float(value) for value in x]


def _to_float32(values: Sequence[float]) -> tuple[float, ...]:
    import numpy as np

    return tuple(np.array(values, dtype=np.float32).tolist())
