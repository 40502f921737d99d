"""Processes that decode pictures and clips, so that a file that hangs, crashes or swells its decoder hurts itself only.

A decoder is a plain `python -I -c` child that talks over a socket of its own: unlike multiprocessing's it neither
imports the parent's __main__ nor needs one, so it works under a console script, a notebook or `python -`, and starts
in the time that importing Pillow takes. It is handed an open file, never a path, and writes pixels into memory that
is shared with it. It serves one medium after the other and is replaced when it fails.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from yoj_cli.config.limits import LIMITS
from yoj_cli.errors import MediaError, UsageError
from yoj_cli.media.decoder_process import (
    HINTS,
    CrashedError,
    DecoderProcess,
    Limits,
    RefusedError,
    medium_of,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from yoj_cli.media.clips import Decoded

Result = TypeVar("Result")

MAX_DECODERS = 4
"""As many as threads that prepare groups; with fewer, a busy machine gives them a smaller share of its time."""
MEMORY_BYTES = 1792 << 20
"""What one medium may take of a decoder's memory. Of pictures of 89 megapixels (--max-picture-mp is 50.4 by default),
PNG and JPEG take up to 1,060 MiB and WebP 1,400; a clip of 16 frames in 4K takes 1,060."""
PICTURE_CPU_S = 20.0
"""Processor's time for a picture; the largest takes two to three."""
CLIP_THREADS = 4
"""A clip may take the processor's time of so many threads for as long as it may take at all."""


class DecoderPool:
    """Up to `max_decoders` processes, started on demand; may be used from any thread.

    Args:
        memory_bytes: for one medium, beside what the process takes without it.
        picture_cpu_s: the processor's time for one picture, where its time limit is not shorter.
    """

    def __init__(
        self,
        max_decoders: int = MAX_DECODERS,
        *,
        memory_bytes: int = MEMORY_BYTES,
        picture_cpu_s: float = PICTURE_CPU_S,
    ) -> None:
        self.max_decoders = max_decoders
        self._memory_bytes, self._picture_cpu_s = memory_bytes, picture_cpu_s
        self._inherited: list[set[DecoderProcess]] = []
        self._n_closed = 0
        self._start_empty()

    def decode_picture(
        self, file: BinaryIO, *, where: str, max_pixels: int, timeout_s: float
    ) -> tuple[Image, str]:
        """The upright RGB picture in an open file, and its digest; waits while all decoders are busy (not counted).

        Raises:
            MediaError: what the decoder said, or that it crashed or took too much memory or time.
        """
        found = self.decode_small_picture(
            file, where=where, max_pixels=max_pixels, small_pixels=max_pixels, timeout_s=timeout_s
        )
        assert not isinstance(found, int)
        return found

    def decode_small_picture(
        self, file: BinaryIO, *, where: str, max_pixels: int, small_pixels: int, timeout_s: float
    ) -> tuple[Image, str] | int:
        """As `decode_picture`, but of a picture of more than `small_pixels` by its headers only their number.

        Raises:
            MediaError: as `decode_picture`.
        """
        from PIL import Image

        def take(reply: dict[str, Any], process: DecoderProcess) -> tuple[Image.Image, str] | int:
            width, height = reply["size"]
            if width * height > small_pixels:
                return int(width * height)
            with process.pixels(width * height * 3) as pixels:
                return Image.frombytes("RGB", (width, height), pixels), str(reply["digest"])

        request = {"kind": "picture", "max_pixels": max_pixels, "small_pixels": small_pixels}
        return self._decode(request, file, where, self._picture_limits(timeout_s), take)

    def check_clip(self, file: BinaryIO, *, where: str, max_pixels: int, timeout_s: float) -> int:
        """See that an open file holds a clip by its headers.

        Returns:
            The pixels of one of its frames.
        Raises:
            MediaError: as `decode_picture`.
        """

        def take(reply: dict[str, Any], process: DecoderProcess) -> int:
            width, height = reply["size"]
            return int(width * height)

        request = {"kind": "clip header", "name": where[-200:], "max_pixels": max_pixels}
        return self._decode(request, file, where, self._clip_limits(timeout_s), take)

    def decode_clip(
        self,
        file: BinaryIO,
        *,
        where: str,
        max_frames: int,
        max_pixels: int,
        max_clip_pixels: int = LIMITS.clip_pixels,
        timeout_s: float,
    ) -> Decoded:
        """Sample and decode the clip in an open file; waits while all decoders are busy (not counted).

        Where decord ends its process instead of raising an error, PyAV alone reads the clip in another one.

        Raises:
            MediaError: as `decode_picture`.
        """
        import numpy as np

        from yoj_cli.media.clips import Decoded

        def take(reply: dict[str, Any], process: DecoderProcess) -> Decoded:
            shape = tuple(reply["shape"])
            memory = process.give_memory(int(np.prod(shape)))
            frames = np.frombuffer(memory, np.uint8).reshape(shape)
            return Decoded(frames, tuple(reply["times_s"]), reply["duration_s"], reply["decoder"])

        pixels = {"max_pixels": max_pixels, "max_clip_pixels": max_clip_pixels}
        request = {"kind": "clip", "max_frames": max_frames, "name": where[-200:], **pixels}
        limits = self._clip_limits(timeout_s)
        try:
            return self._decode({**request, "use_decord": True}, file, where, limits, take)
        except CrashedError:
            return self._decode({**request, "use_decord": False}, file, where, limits, take)

    def start(self) -> None:
        """Start a decoder where there is none; it comes up while the caller does other things."""
        with self._lock:
            if not self._processes:
                process = DecoderProcess(self._lifeline[0])
                self._processes.add(process)
                self._idle.append(process)

    def close(self) -> None:
        """End all decoders, busy ones too: whoever waits for one gets a MediaError. The pool can be used again."""
        with self._lock:
            self._n_closed += 1
            idle, busy = list(self._idle), self._processes.difference(self._idle)
            self._processes.clear()
            self._idle.clear()
        for process in idle:
            process.end()
        for process in busy:
            process.kill()

    def forget(self) -> None:
        """Start empty in a forked child: the decoders, and whoever held the lock, are the parent's."""
        self._inherited.append(self._processes)  # not ended, as they would be once nobody knows them
        for end in self._lifeline:
            os.close(end)
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self.max_decoders)
        self._processes: set[DecoderProcess] = set()
        self._idle: list[DecoderProcess] = []
        self._lifeline = os.pipe()

    def _decode(
        self,
        request: dict[str, Any],
        file: BinaryIO,
        where: str,
        limits: Limits,
        take: Callable[[dict[str, Any], DecoderProcess], Result],
    ) -> Result:
        """Have one decoder answer, and `take` what it wrote before the next request is sent to it."""
        n_closed = self._n_closed
        with self._free:
            process = self._take(where, n_closed)
            try:
                reply = process.ask(request, file.fileno(), where, limits)
                result = take(reply, process)
            except RefusedError as refusal:
                (self._drop if refusal.is_spent else self._give_back)(process)
                raise MediaError(refusal.what, where=where, hint=refusal.hint) from None
            except (KeyError, TypeError, ValueError) as error:  # a reply that is none
                self._drop(process)
                kind = medium_of(request)
                raise MediaError(
                    f"the {kind} decoder gave no usable answer", where=where, hint=HINTS[kind]
                ) from error
            except BaseException:
                self._drop(process)
                raise
            self._give_back(process)
            return result

    def _picture_limits(self, timeout_s: float) -> Limits:
        return Limits(timeout_s, min(timeout_s, self._picture_cpu_s), self._memory_bytes)

    def _clip_limits(self, timeout_s: float) -> Limits:
        return Limits(timeout_s, CLIP_THREADS * timeout_s, self._memory_bytes)

    def _take(self, where: str, n_closed: int) -> DecoderProcess:
        if not hasattr(socket, "send_fds"):
            raise UsageError("pictures and clips are decoded on Linux and macOS only")
        with self._lock:
            if self._n_closed != n_closed:
                raise MediaError("decoding was stopped", where=where)
            while self._idle:
                process = self._idle.pop()
                if process.is_usable():
                    return process
                self._processes.discard(process)
                process.end()
            process = DecoderProcess(self._lifeline[0])
            self._processes.add(process)
            return process

    def _give_back(self, process: DecoderProcess) -> None:
        with self._lock:
            if process in self._processes:
                self._idle.append(process)
                return
        process.end()  # the pool was closed meanwhile

    def _drop(self, process: DecoderProcess) -> None:
        with self._lock:
            self._processes.discard(process)
        process.end()


pool = DecoderPool()
atexit.register(pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget)
