"""The clips decoded last: groups side by side often show one clip, and several threads ask for it at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Clip = TypeVar("Clip")

CACHE_BYTES = 320_000_000
"""Room for three clips of 16 frames in full HD (100 MB each); a larger one, such as of 16 frames in 4K (398 MB), is not
kept: it would lie beside the largest picture that may be prepared."""


class ClipCache(Generic[Clip]):
    """Decoded clips up to a number of bytes; safe to call from several threads.

    Args:
        count_bytes: what a clip takes.
        max_bytes: what all that are kept may take; the one used longest ago goes first.
    """

    def __init__(self, count_bytes: Callable[[Clip], int], max_bytes: int = CACHE_BYTES) -> None:
        self._count_bytes, self._max_bytes = count_bytes, max_bytes
        self.forget()

    def get(self, key: Hashable, decode: Callable[[], Clip]) -> Clip:
        """The clip that is kept under `key`, else what `decode` gives; another thread's decoding is waited for.

        Raises:
            what `decode` raises, also in the threads that waited for it; nothing is kept, the next call decodes.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            running = self._decoding.get(key)
            if running is None:
                ours = self._decoding[key] = Future()
        if running is not None:
            return running.result()
        try:
            clip = decode()
        except BaseException as error:
            with self._lock:
                self._decoding.pop(key, None)
            ours.set_exception(error)
            raise
        with self._lock:
            self._decoding.pop(key, None)
            self._keep(key, clip)
        ours.set_result(clip)
        return clip

    def find(self, key: Hashable) -> Clip | None:
        """The clip that is kept under `key`, if one is."""
        with self._lock:
            return self._kept.get(key)

    def clear(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._kept.clear()
            self._n_bytes = 0

    def forget(self) -> None:
        """Start empty; in a forked child the lock and what is being decoded are the parent's."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Clip] = OrderedDict()
        self._decoding: dict[Hashable, Future[Clip]] = {}
        self._n_bytes = 0

    def _keep(self, key: Hashable, clip: Clip) -> None:
        n_bytes = self._count_bytes(clip)
        if n_bytes > self._max_bytes:  # it would only push the others out
            return
        self._kept[key] = clip
        self._n_bytes += n_bytes
        while self._n_bytes > self._max_bytes:
            self._n_bytes -= self._count_bytes(self._kept.popitem(last=False)[1])
