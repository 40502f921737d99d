"""Results of one request as they come from other threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from yoj_cli.errors import DeadlineError
from yoj_cli.groups import Failure, Group
from yoj_cli.serve.fair_queue import Result


class Results:
    """What is there of a request's results.

    Args:
        items: those that are failures already have their result.

    Attributes:
        has_ended: there will be no more.
    """

    def __init__(self, items: Sequence[Group | Failure]) -> None:
        self._loop = asyncio.get_running_loop()
        self._found: dict[int, Result] = {
            n: item for n, item in enumerate(items) if isinstance(item, Failure)
        }
        self._changed, self.has_ended = asyncio.Event(), False

    def deliver(self, results: Sequence[tuple[int, Result]]) -> None:
        """Add some, by their places; from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._add, results)

    def end(self) -> None:
        """Wait for no more."""
        self.has_ended = True
        self._changed.set()

    async def get(self, place: int, timeout_s: float) -> Result | None:
        """The result at a place, which is given once; None when it does not come in time."""
        deadline = time.monotonic() + timeout_s
        while place not in self._found and not self.has_ended:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except (TimeoutError, asyncio.TimeoutError):  # two classes in Python 3.10
                return None
        return self._found.pop(place, None)

    def _add(self, results: Sequence[tuple[int, Result]]) -> None:
        self._found.update(results)
        self._changed.set()


def too_late(item: Group | Failure, limit_s: float, *, has_ended: bool) -> Failure:
    """What is said of a group that had no result in time."""
    what = "the server ended before it was scored" if has_ended else f"not scored within {limit_s:g} s"
    error = DeadlineError(what, where=item.where, hint="Send it again, or fewer groups at a time.")
    return Failure(item.where, item.record, error)
