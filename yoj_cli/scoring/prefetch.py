"""Results of a function, worked on in threads before they are asked for: in order, and with bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

N_PREFETCHED = 4
"""Groups that are read, decoded and tokenized while the device works on the one before."""


@dataclass
class _Finished(Generic[Result]):
    """A result until it is handed over, when the thread lets go of it.

    A result may hold an error, whose traceback holds the frames of the thread that it came through; were it still in
    one of these, only Python's collector of circles could free it.
    """

    results: list[Result]
    size: int = 0

    def hand_over(self) -> Result:
        return self.results.pop()


class Prefetcher(Generic[Item, Result]):
    """Results of a function for each item of a stream, in its order.

    The items are read in a thread of their own, so that an item which has come is never kept waiting for the next one
    (a pipe may be slow). Use it in a `with` block, or close it: reading and work that nobody waits for is given up.

    Args:
        function: called in threads.
        n_prefetched: threads; and items that are ahead of the consumer, where `max_size` is 0.
        size: how large a finished result is, in a unit of the caller's; called in threads, once for each.
        max_size: further items are begun while the results are smaller than this together: those that are finished,
            and those being worked on, each taken to be as large as the last one was. One is always ahead.
        cut_every: results on both sides of every so many are never handed out together; None for no such limit.
        n_before: how many came before these items, for that count.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        n_prefetched: int = N_PREFETCHED,
        size: Callable[[Result], int] = lambda _: 1,
        max_size: int = 0,
        cut_every: int | None = None,
        n_before: int = 0,
    ) -> None:
        self._function, self._size = function, size
        self._max_size, self._n_prefetched = max_size, n_prefetched
        self._cut_every, self._n_taken = cut_every, n_before
        self._changed = threading.Condition()
        self._queue: deque[Future[_Finished[Result]]] = deque()
        self._window: list[Future[_Finished[Result]]] = []  # the next to be handed out; all done
        self._window_size = 0
        self._n_working = self._finished_size = self._last_size = 0
        self._at_end = self._closed = False
        self._pool = ThreadPoolExecutor(n_prefetched, thread_name_prefix="yoj-prefetch")
        # A daemon: a read that never returns must not keep the program from ending.
        self._reader = threading.Thread(
            target=self._read, args=(iter(items),), name="yoj-prefetch-reader", daemon=True
        )
        self._reader.start()

    def __enter__(self) -> Prefetcher[Item, Result]:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __iter__(self) -> Iterator[Result]:
        while window := self.take():
            yield from window

    def take(self, *, live: bool = False) -> list[Result]:
        """Wait for the next results; empty where there is none left.

        Args:
            live: take what is there, and wait only for the first. Else take as many as are `max_size` together (one
                where that is 0; fewer at the end and at a cut): how many follows from their sizes alone, not from
                how fast they came.
        Raises:
            Exception: what the function, or reading the items, raised at this place; what comes before it has been
                taken, and what follows can be taken after it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_window_complete(live))
            window, self._window = self._window, []
            if len(window) > 1 and _has_failed(window[-1]):
                self._window = [window.pop()]
            self._n_taken += len(window)
            self._finished_size -= self._window_size
            self._window_size = 0
            self._changed.notify_all()
        return [future.result().hand_over() for future in window]

    def close(self) -> None:
        """Stop. A consumer that stops early (an error, Ctrl-C) must not wait for a clip that is being decoded."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _is_window_complete(self, live: bool) -> bool:
        """Move what is done into the window, in order; whether it can be handed out. One that failed is its last."""
        while self._queue and self._queue[0].done() and not self._is_full():
            self._window.append(self._queue.popleft())
            self._window_size += self._size_of(self._window[-1])
        return (
            self._is_full()
            or (live and bool(self._window))
            or (not self._queue and (self._at_end or self._closed))
        )

    def _is_full(self) -> bool:
        if not self._window:
            return False
        is_cut = bool(self._cut_every) and (self._n_taken + len(self._window)) % (self._cut_every or 1) == 0
        return is_cut or self._window_size >= self._max_size or _has_failed(self._window[-1])

    def _may_begin(self) -> bool:
        n_ahead = len(self._queue) + len(self._window)
        if n_ahead == 0 or (self._max_size == 0 and n_ahead < self._n_prefetched):
            return True
        expected_size = self._finished_size + self._n_working * self._last_size
        return self._n_working < self._n_prefetched and expected_size < self._max_size

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
            future = self._pool.submit(self._work, item)
            self._queue.append(future)
            self._n_working += 1
        future.add_done_callback(self._finish)

    def _work(self, item: Item) -> _Finished[Result]:
        finished = _Finished([self._function(item)])
        finished.size = self._size(finished.results[0])
        return finished

    def _finish(self, future: Future[_Finished[Result]]) -> None:
        with self._changed:
            self._n_working -= 1
            self._last_size = self._size_of(future)
            self._finished_size += self._last_size
            self._changed.notify_all()

    def _append_error(self, error: BaseException) -> None:
        failed: Future[_Finished[Result]] = Future()
        failed.set_exception(error)
        with self._changed:
            self._queue.append(failed)

    def _size_of(self, future: Future[_Finished[Result]]) -> int:
        return 0 if _has_failed(future) else future.result().size


def _has_failed(future: Future[Any]) -> bool:
    """Whether a finished call has no result."""
    return future.cancelled() or future.exception() is not None
