"""From scores to a verdict: ranks and P(best)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yoj_cli.groups import Group


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says about one group.

    Attributes:
        group: the group that was judged.
        scores: (N,) float32 values; higher is better, the zero means nothing.
        ranks: (N,) 1 = best; ties share the better rank ("1224").
        p_best: (N,) softmax of the scores over the temperature, sums to 1.
        spread: (N,) how far each score moved between branches; None where there was one branch.
        order_agreement: the share of the orders whose own best response is the best one here; None where the
            group was not read in several orders (one order, `single`, windows). See `plan.join`.
        n_orders: orders that were read (a group of N has N! at most), or rounds of windows.
        n_tokens: tokens read for this group, over all branches.
        seconds: time spent on this group.
        temperature: of P(best); 1 without a calibration.
        abstained: P(best) was too low to say which is best (`--abstain-below`).
    """

    group: Group
    scores: tuple[float, ...]
    ranks: tuple[int, ...]
    p_best: tuple[float, ...]
    spread: tuple[float, ...] | None
    order_agreement: float | None
    n_orders: int
    n_tokens: int
    seconds: float
    temperature: float = 1.0
    abstained: bool = False

    @property
    def best(self) -> int:
        """Index of the best response; of tied ones the first."""
        return self.ranks.index(1)

    @property
    def order(self) -> tuple[int, ...]:
        """(N,) indices, best first; tied responses stay in the order given."""
        return tuple(sorted(range(len(self.ranks)), key=self.ranks.__getitem__))


def build_verdict(
    group: Group,
    scores: Sequence[float],
    *,
    spread: Sequence[float] | None = None,
    order_agreement: float | None = None,
    n_orders: int = 1,
    n_tokens: int = 0,
    seconds: float = 0.0,
    temperature: float = 1.0,
) -> Verdict:
    """The verdict that follows from a group's scores.

    Raises:
        ValueError: if a score is not finite, or scores or spread do not fit the group.
    """
    n = len(group.responses)
    if len(scores) != n or (spread is not None and len(spread) != n):
        raise ValueError(f"{n} responses, but {len(scores)} scores and spread {spread}")
    return Verdict(
        group=group,
        scores=tuple(scores),
        ranks=rank(scores),
        p_best=p_best(scores, temperature),
        spread=None if spread is None else tuple(spread),
        order_agreement=order_agreement,
        n_orders=n_orders,
        n_tokens=n_tokens,
        seconds=seconds,
        temperature=temperature,
    )


def rank(scores: Sequence[float]) -> tuple[int, ...]:
    """Competition ranking: 1 + the number of strictly higher scores, so equal scores share a rank.

    Raises:
        ValueError: if a score is NaN or infinite.
    """
    _check_finite(scores)
    first: dict[float, int] = {}
    for place, score in enumerate(sorted(scores, reverse=True), start=1):
        first.setdefault(score, place)
    return tuple(first[score] for score in scores)


def p_best(scores: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """Softmax of the scores in float64: the judge's probability that each response is the best one.

    Args:
        temperature: what the scores are divided by, above 0; see `verdicts.calibration`.
    Raises:
        ValueError: if a score is NaN or infinite.
    """
    _check_finite(scores)
    highest = max(scores, default=0.0)
    weights = [math.exp((score - highest) / temperature) for score in scores]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _check_finite(scores: Sequence[float]) -> None:
    for i, score in enumerate(scores):
        if not math.isfinite(score):
            raise ValueError(f"the score of response {i} is {score}")
