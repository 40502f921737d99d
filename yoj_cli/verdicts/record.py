"""A verdict as an output line: the input fields, then what the judge says."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from yoj_cli.verdicts.verdict import Verdict

OUTPUT_KEYS = (
    *("scores", "ranks", "p_best", "spread", "order_agreement", "best", "abstained", "top", "judge", "error"),
)
"""What `to_record` and `to_error_record` write; see `input_fields` for an input line that has such a key."""

MIN_FLOAT32, MAX_FLOAT32 = 2.0**-126, (2 - 2.0**-23) * 2.0**127
"""What is of full precision."""


def to_record(verdict: Verdict, judge: Mapping[str, Any], *, top: int | None = None) -> dict[str, Any]:
    """The output line: the input fields unchanged and in their order, then the verdict.

    Args:
        judge: written as "judge": what scored it and how, with the orders that this group was read in.
        top: also write "top", the best `top` responses, best first (all of them if there are fewer).
    """
    record = input_fields(verdict.group.record)
    record["scores"] = [shortest_float32(score) for score in verdict.scores]
    record["ranks"] = list(verdict.ranks)
    record["p_best"] = [shortest_float32(p) for p in verdict.p_best]
    if verdict.spread is not None:
        record["spread"] = [shortest_float32(spread) for spread in verdict.spread]
    if verdict.order_agreement is not None:
        record["order_agreement"] = shortest_float32(verdict.order_agreement)
    record["best"] = None if verdict.abstained else verdict.best
    if verdict.abstained:
        record["abstained"] = True
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
    return input_fields(record) | {"error": {"type": type(error).__name__, "message": str(error)}}


def input_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The input line without what an earlier run wrote on it.

    A line that an earlier run wrote (scores by a judge, or an error of ours) is judged again, and the old verdict
    is dropped. In any other line a key like "judge" is the user's own: it is kept under "input_fields".
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

    1.2345678 instead of 1.2345678329467773: exact, and half as long in a file. A value that is no float32 number of
    full precision (a probability of 1e-60, say) is cut to 9 digits.
    """
    if not MIN_FLOAT32 <= abs(value) <= MAX_FLOAT32:
        return float(f"{value:.9g}")
    packed = struct.pack("<f", value)
    (exact,) = struct.unpack("<f", packed)
    shorter = (
        float(f"{exact:.{n_digits}g}") for n_digits in (6, 7, 8)
    )  # six digits end in zeros where fewer do
    return next((short for short in shorter if struct.pack("<f", short) == packed), float(f"{exact:.9g}"))
