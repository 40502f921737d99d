"""A real judge whose forward passes wait for a sign, so that a test can say what happens meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from yoj_cli import Judge
from yoj_cli.errors import YojError
from yoj_cli.scoring.engine import Outcome
from yoj_cli.sequence.packed import PackedSequence


class GatedEngine:
    """The engine of a judge behind a gate.

    Attributes:
        gate: set: passes run.
        entered: set when a pass waits there.
        error: what passes give instead of scores.
        bug: what they raise.
        batches: how many groups each pass had.
    """

    def __init__(self, judge: Judge) -> None:
        self._engine = judge.engine
        self.gate, self.entered = threading.Event(), threading.Event()
        self.error: YojError | None = None
        self.bug: Exception | None = None
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def score(self, batch: Sequence[PackedSequence]) -> list[Outcome]:
        self.batches.append(len(batch))
        self.entered.set()
        assert self.gate.wait(30)
        if self.bug is not None:
            raise self.bug
        return [self.error] * len(batch) if self.error else self._engine.score(batch)


class GatedJudge:
    """A judge with such an engine."""

    def __init__(self, judge: Judge, *, is_open: bool = False) -> None:
        self._judge, self.engine = judge, GatedEngine(judge)
        if is_open:
            self.engine.gate.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)
