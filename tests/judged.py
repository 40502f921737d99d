"""Judged groups made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.sets import file_benchmark
from yoj_cli.verdicts.verdict import p_best

FILE: Benchmark = file_benchmark("data", "data.jsonl")


def make_judged(
    scores: Sequence[float], rankings: Sequence[float] | None, *, number: int = 1, **fields: Any
) -> Judged:
    """`number` gives id, place and (unless it is given) cluster."""
    given = {
        "id": str(number),
        "where": f"data.jsonl:{number}",
        "scores": tuple(map(float, scores)),
        "rankings": None if rankings is None else tuple(map(float, rankings)),
        "p_best": p_best(scores) if len(scores) else (),
        "lengths": tuple(10 for _ in scores),
        "cluster": str(number),
    }
    return Judged(**{**given, **fields})


def pairs(*right: bool, **fields: Any) -> list[Judged]:
    """Pairs whose first response is the best one, and won or not."""
    return [
        make_judged((1, 0) if is_right else (0, 1), (1, 2), number=number, **fields)
        for number, is_right in enumerate(right, start=1)
    ]
