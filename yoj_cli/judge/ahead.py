"""Run a function ahead of its consumer, in order and with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_ahead: int
) -> Generator[Callable[[], Result], None, None]:
    """Like `map`, but up to `n_ahead` items are worked on in threads before they are asked for.

    Yields:
        For each item, in order, a call that waits for its result (or raises what the function raised).
    """
    source = iter(items)
    pool = ThreadPoolExecutor(n_ahead, thread_name_prefix="yoj-ahead")
    waiting: deque[Future[Result]] = deque()
    try:
        while True:
            waiting.extend(pool.submit(function, item) for item in islice(source, n_ahead + 1 - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result
    finally:
        # A consumer that stops early (an error, Ctrl-C) must not wait for a clip that is still being decoded.
        pool.shutdown(wait=False, cancel_futures=True)
