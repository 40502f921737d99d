"""From scores to a verdict: ranks, P(best), agreement with a given ranking, and the JSON line."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoj_cli.inputs.groups import Group

OUTPUT_KEYS = ("scores", "ranks", "p_best", "spread", "order_agreement", "best", "top", "judge", "error")
"""What `to_record` and `to_error_record` write; see `_input_fields` for an input line that has such a key."""

FLOAT32_MIN_NORMAL, FLOAT32_MAX = 2.0**-126, (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says about one group.

    Attributes:
        group: the group that was judged.
        scores: (N,) float32 values; higher is better, the zero means nothing.
        ranks: (N,) 1 = best; ties share the better rank ("1224").
        p_best: (N,) softmax of the scores, sums to 1.
        spread: (N,) how far each score moved between branches; None where there was one branch.
        order_agreement: the share of the orders whose own best response is the best one here; None where the
            group was not read in several orders (one order, `single`, windows). See `plan.order_agreement`.
        n_orders: orders that were read (a group of N has N! at most), or rounds of windows.
        n_tokens: tokens read for this group, over all branches.
        seconds: time spent on this group.
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
        p_best=p_best(scores),
        spread=None if spread is None else tuple(spread),
        order_agreement=order_agreement,
        n_orders=n_orders,
        n_tokens=n_tokens,
        seconds=seconds,
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


def p_best(scores: Sequence[float]) -> tuple[float, ...]:
    """Softmax of the scores in float64: the judge's probability that each response is the best one.

    Raises:
        ValueError: if a score is NaN or infinite.
    """
    _check_finite(scores)
    highest = max(scores, default=0.0)
    weights = [math.exp(score - highest) for score in scores]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _check_finite(scores: Sequence[float]) -> None:
    for i, score in enumerate(scores):
        if not math.isfinite(score):
            raise ValueError(f"the score of response {i} is {score}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one group's scores agree with its rankings. Where all rankings tie there is nothing to agree on and
    `best`, `chance` and `tau` are None.

    Attributes:
        best: the part of the top-scored responses that the rankings call best: 0 or 1 unless several scores
            tie at the top. It is the expected hit of picking one of them blindly; with one best response it
            is 1 / (number of maxima), the rule of RewardBench 2.
        chance: `best` for a blind pick among all responses.
        n_pairs: pairs that the rankings order strictly.
        n_right: those of them that the scores order the same way; equal scores are wrong.
        tau: Kendall's tau-b; 0.0 where all scores tie.
    """

    best: float | None
    chance: float | None
    n_pairs: int
    n_right: int
    tau: float | None


def agreement(scores: Sequence[float], rankings: Sequence[float]) -> Agreement:
    """Compare scores (higher is better) with rankings (1 = best, ties allowed).

    Source of tau-b: M. G. Kendall, Biometrika 33 (1945), pages 239-251: (right - reversed) over the geometric
    mean of the numbers of pairs that each side orders strictly.
    """
    if len(scores) != len(rankings):
        raise ValueError(f"{len(scores)} scores, but {len(rankings)} rankings")
    n_pairs = n_scored_pairs = n_right = n_reversed = 0
    for i in range(len(scores)):
        for j in range(i):
            better = rankings[j] - rankings[i]
            higher = scores[i] - scores[j]
            n_pairs += better != 0
            n_scored_pairs += higher != 0
            n_right += better * higher > 0
            n_reversed += better * higher < 0
    if n_pairs == 0:
        return Agreement(None, None, 0, 0, None)
    best_ranking, top_score = min(rankings), max(scores)
    at_top = [
        ranking == best_ranking for ranking, score in zip(rankings, scores, strict=True) if score == top_score
    ]
    return Agreement(
        best=sum(at_top) / len(at_top),
        chance=sum(ranking == best_ranking for ranking in rankings) / len(rankings),
        n_pairs=n_pairs,
        n_right=n_right,
        tau=(n_right - n_reversed) / math.sqrt(n_pairs * n_scored_pairs) if n_scored_pairs else 0.0,
    )


@dataclass(frozen=True, slots=True)
class MeanAgreement:
    """Agreement over the `n_groups` groups whose rankings are not all tied.

    `best`, `chance` and `tau` are means over groups, `pairs` is pooled over all `n_pairs` pairs.
    """

    n_groups: int
    best: float
    chance: float
    n_pairs: int
    pairs: float
    tau: float


def mean_agreement(agreements: Iterable[Agreement]) -> MeanAgreement | None:
    """None where no group has a ranking that tells its responses apart."""
    summary = Summary()
    for one in agreements:
        summary.add_agreement(one)
    return summary.agreement


@dataclass(slots=True)
class Summary:
    """Running totals over a stream of groups, in constant memory.

    `n_reordered` groups were read in several orders; in `n_changed` of them the orders do not all agree on the best.
    """

    n_scored: int = 0
    n_failed: int = 0
    n_responses: int = 0
    n_tokens: int = 0
    n_reordered: int = 0
    n_changed: int = 0
    n_ranked: int = 0
    n_pairs: int = 0
    n_right: int = 0
    best_sum: float = 0.0
    chance_sum: float = 0.0
    tau_sum: float = 0.0

    def add(self, verdict: Verdict) -> None:
        self.n_scored += 1
        self.n_responses += len(verdict.scores)
        self.n_tokens += verdict.n_tokens
        if verdict.order_agreement is not None:
            self.n_reordered += 1
            self.n_changed += verdict.order_agreement < 1
        if verdict.group.rankings is not None:
            self.add_agreement(agreement(verdict.scores, verdict.group.rankings))

    def add_failure(self) -> None:
        self.n_failed += 1

    def add_agreement(self, one: Agreement) -> None:
        if one.best is None or one.chance is None or one.tau is None:
            return
        self.n_ranked += 1
        self.n_pairs += one.n_pairs
        self.n_right += one.n_right
        self.best_sum += one.best
        self.chance_sum += one.chance
        self.tau_sum += one.tau

    @property
    def agreement(self) -> MeanAgreement | None:
        n = self.n_ranked
        if n == 0:
            return None
        return MeanAgreement(
            n_groups=n,
            best=self.best_sum / n,
            chance=self.chance_sum / n,
            n_pairs=self.n_pairs,
            pairs=self.n_right / self.n_pairs,
            tau=self.tau_sum / n,
        )


def to_record(verdict: Verdict, judge: Mapping[str, Any], *, top: int | None = None) -> dict[str, Any]:
    """The output line: the input fields unchanged and in their order, then the verdict.

    Args:
        judge: written as "judge": what scored it and how, with the orders that this group was read in.
        top: also write "top", the best `top` responses, best first (all of them if there are fewer).
    """
    record = _input_fields(verdict.group.record)
    record["scores"] = [shortest_float32(score) for score in verdict.scores]
    record["ranks"] = list(verdict.ranks)
    record["p_best"] = [shortest_float32(p) for p in verdict.p_best]
    if verdict.spread is not None:
        record["spread"] = [shortest_float32(spread) for spread in verdict.spread]
    if verdict.order_agreement is not None:
        record["order_agreement"] = shortest_float32(verdict.order_agreement)
    record["best"] = verdict.best
    if top is not None:
        record["top"] = [
            {
                "index": i,
                "rank": verdict.ranks[i],
                "score": shortest_float32(verdict.scores[i]),
                "response": verdict.group.responses[i],
            }
            for i in verdict.order[:top]
        ]
    record["judge"] = {**judge, "orders": verdict.n_orders}
    return record


def to_error_record(record: Mapping[str, Any], error: Exception) -> dict[str, Any]:
    """The output line of a group that failed: the input fields unchanged, and what went wrong."""
    return _input_fields(record) | {"error": {"type": type(error).__name__, "message": str(error)}}


def _input_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The input line without what an earlier run wrote on it.

    A line that an earlier run wrote (scores by a judge, or an error of ours) is judged anew: the old verdict
    goes. In any other line a key like "judge" is the user's own: it is kept under "input_fields".
    """
    fields = {key: value for key, value in record.items() if key not in OUTPUT_KEYS}
    error, judge = record.get("error"), record.get("judge")
    is_verdict = "scores" in record and "p_best" in record and isinstance(judge, Mapping)
    is_error = isinstance(error, Mapping) and set(error) == {"type", "message"}
    own = {key: value for key, value in record.items() if key in OUTPUT_KEYS}
    if own and not is_verdict and not is_error:
        fields["input_fields"] = own
    return fields


def shortest_float32(value: float) -> float:
    """The float with the fewest digits that reads back as the same float32.

    1.2345678 instead of 1.2345678329467773: exact, and half as long in a file. Values outside the range
    of normal float32 numbers come back as they are, cut to 9 digits.
    """
    if not FLOAT32_MIN_NORMAL <= abs(value) <= FLOAT32_MAX:
        return float(f"{value:.9g}")
    exact = struct.pack("f", value)
    for n_digits in range(1, 9):
        short = float(f"{value:.{n_digits}g}")
        if short <= FLOAT32_MAX and struct.pack("f", short) == exact:
            return short
    return float(f"{value:.9g}")
