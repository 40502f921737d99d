"""Run a function ahead of its consumer, in order and with bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Prefetcher(Generic[Item, Result]):
    """Results of a function for each item, in order, worked on in threads before they are asked for.

    The items are read in a thread of their own, so that an item which has come is never kept waiting for the
    next one (a pipe may be slow). Close it when done; reading and work that nobody waits for is given up.

    Args:
        n_prefetched: threads, and items that may always be ahead.
        size: how large a finished result is, in a unit of the caller's.
        max_size: further items are begun while the finished results are smaller than this together.

    Attributes:
        waited_s: how long `take` has waited.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        n_prefetched: int,
        size: Callable[[Result], int] = lambda _: 1,
        max_size: int = 0,
    ) -> None:
        self.waited_s = 0.0
        self._function, self._size, self._max_size, self._n_ahead = function, size, max_size, n_prefetched
        self._changed = threading.Condition()
        self._line: deque[Future[Result]] = deque()
        self._n_working = self._finished_size = 0
        self._at_end = self._closed = False
        self._pool = ThreadPoolExecutor(n_prefetched, thread_name_prefix="yoj-prefetch")
        # A daemon: a read that never returns must not keep the program from ending.
        self._reader = threading.Thread(
            target=self._read, args=(iter(items),), name="yoj-prefetch-reader", daemon=True
        )
        self._reader.start()

    def take(self) -> Callable[[], Result] | None:
        """Wait for the next result; None when there is none left.

        Returns:
            A call that gives the result, or raises what the function (or the reading) raised.
        """
        started = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: (self._line and self._line[0].done()) or self._is_over())
            self.waited_s += time.perf_counter() - started
            return self._pop().result if self._line else None

    def take_filled(self) -> list[Callable[[], Result]]:
        """Wait for the next results that are `max_size` together; fewer at the end, none when there is none left.

        How many they are follows from their sizes alone, and not from how fast they came. One that failed is the
        last of its lot.
        """
        started = time.perf_counter()
        with self._changed:
            self._changed.wait_for(lambda: self._count_filled() is not None)
            self.waited_s += time.perf_counter() - started
            return [self._pop().result for _ in range(self._count_filled() or 0)]

    def take_ready(self) -> list[Callable[[], Result]]:
        """The next results as far as they are there now, without waiting."""
        found: list[Callable[[], Result]] = []
        with self._changed:
            while self._line and self._line[0].done():
                found.append(self._pop().result)
        return found

    def close(self) -> None:
        """Stop. A consumer that stops early (an error, Ctrl-C) must not wait for a clip that is being decoded."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count_filled(self) -> int | None:
        """Results of the next lot; None while they are not all there."""
        total = 0
        for count, future in enumerate(self._line, start=1):
            if not future.done():
                return None
            total += self._size_of(future)
            if total >= self._max_size or future.cancelled() or future.exception() is not None:
                return count
        return len(self._line) if self._at_end or self._closed else None

    def _is_over(self) -> bool:
        return not self._line and (self._at_end or self._closed)

    def _pop(self) -> Future[Result]:
        first = self._line.popleft()
        self._finished_size -= self._size_of(first)
        self._changed.notify_all()
        return first

    def _may_begin(self) -> bool:
        if len(self._line) < self._n_ahead:
            return True
        return self._n_working < self._n_ahead and self._finished_size < self._max_size

    def _read(self, items: Iterator[Item]) -> None:
        try:
            while self._wait_for_room():
                try:
                    item = next(items)
                except StopIteration:
                    return
                self._begin(item)
        except BaseException as error:
            self._append_error(error)
        finally:
            with self._changed:
                self._at_end = True
                self._changed.notify_all()
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def _wait_for_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._may_begin() or self._closed)
            return not self._closed

    def _begin(self, item: Item) -> None:
        with self._changed:
            if self._closed:
                return
            future = self._pool.submit(self._function, item)
            self._line.append(future)
            self._n_working += 1
        future.add_done_callback(self._finish)

    def _finish(self, future: Future[Result]) -> None:
        with self._changed:
            self._n_working -= 1
            self._finished_size += self._size_of(future)
            self._changed.notify_all()

    def _append_error(self, error: BaseException) -> None:
        failed: Future[Result] = Future()
        failed.set_exception(error)
        with self._changed:
            self._line.append(failed)

    def _size_of(self, future: Future[Result]) -> int:
        return 0 if future.cancelled() or future.exception() is not None else self._size(future.result())


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_prefetched: int
) -> Generator[Callable[[], Result], None, None]:
    """Like `map`, but up to `n_prefetched` items are worked on in threads before they are asked for.

    Yields:
        For each item, in order, a call that gives its result (or raises what the function raised).
    """
    with closing(Prefetcher(function, items, n_prefetched=n_prefetched)) as ahead:
        while (result := ahead.take()) is not None:
            yield result
