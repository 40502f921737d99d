"""Worker processes that decode clips, so that a decoder that hangs, crashes or prints hurts one clip only.

A worker is a plain `python -I -c` child that talks over its own pipes: unlike multiprocessing's it
neither imports the parent's __main__ nor needs one, so it works under a console script, a notebook or
`python -`, and starts in the time that importing PyAV and numpy takes. It serves clip after clip and is
replaced when it fails.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from io import BufferedReader
from typing import Any

import numpy as np

from yoj_cli.errors import MediaError
from yoj_cli.media.clips import Decoded
from yoj_cli.media.containers import HINT_REENCODE

MAX_WORKERS = min(4, os.cpu_count() or 1)
CLIPS_PER_WORKER = 500
"""A worker is replaced after so many clips, because decord is known to leak memory."""

PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from yoj_cli.media.clip_worker import serve; serve()"


class ClipPool:
    """Up to `max_workers` workers, started on demand; `decode` may be called from any thread."""

    def __init__(self, max_workers: int = MAX_WORKERS) -> None:
        self.max_workers = max_workers
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(max_workers)
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._parents: list[set[_Worker]] = []
        self._n_closed = 0

    def decode(self, path: str, *, max_frames: int, max_pixels: int, timeout_s: float) -> Decoded:
        """Sample and decode one clip; waits while all workers are busy (not counted in `timeout_s`).

        Raises:
            MediaError: what the decoder said, or that it crashed or took too long.
        """
        request = {"path": path, "max_frames": max_frames, "max_pixels": max_pixels, "timeout_s": timeout_s}
        n_closed = self._n_closed
        with self._free:
            worker = self._take(path, n_closed)
            try:
                decoded = worker.ask(request, timeout_s)
            except _RefusedError as refusal:
                self._give_back(worker)
                raise MediaError(refusal.what, where=path, hint=refusal.hint) from None
            except BaseException:
                self._drop(worker)
                raise
            self._give_back(worker)
            return decoded

    def close(self) -> None:
        """End all workers, busy ones too: whoever waits for one gets a MediaError. The pool can be used again."""
        with self._lock:
            self._n_closed += 1
            workers, self._workers, self._idle = self._workers, set(), []
        for worker in workers:
            worker.end()

    def _take(self, path: str, n_closed: int) -> _Worker:
        with self._lock:
            if self._n_closed != n_closed:
                raise MediaError("decoding was stopped", where=path)
            while self._idle:
                worker = self._idle.pop()
                if worker.is_usable():
                    return worker
                self._workers.discard(worker)
                worker.end()
            worker = _Worker()
            self._workers.add(worker)
            return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if worker in self._workers:
                self._idle.append(worker)

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.end()

    def forget(self) -> None:
        """Start empty in a forked child: the workers, and whoever held the lock, are the parent's."""
        self._parents.append(self._workers)
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self.max_workers)
        self._workers, self._idle = set(), []


class _RefusedError(Exception):
    """The worker is well, and says why the clip is not."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class _Worker:
    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by end)
        self._n_asked = 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        )

    def is_usable(self) -> bool:
        return self._n_asked < CLIPS_PER_WORKER and self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout_s: float) -> Decoded:
        self._n_asked += 1
        assert self._process.stdin is not None
        assert isinstance(self._process.stdout, BufferedReader)
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, kill)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            reply = json.loads(line)
            if "error" in reply:
                raise _RefusedError(reply["error"], reply["hint"])
            frames = np.empty(reply["shape"], np.uint8)
            if frames.nbytes and self._process.stdout.readinto(frames.data.cast("B")) != frames.nbytes:
                raise EOFError
        except (OSError, EOFError) as error:
            raise self._failure(request["path"], timeout_s if late.is_set() else None) from error
        finally:
            timer.cancel()
        return Decoded(frames, tuple(reply["times_s"]), reply["duration_s"], reply["decoder"])

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with contextlib.suppress(OSError):  # an unsent request is lost with its reader
                    pipe.close()

    def _failure(self, path: str, timeout_s: float | None) -> MediaError:
        self._process.kill()
        code = self._process.wait()
        if timeout_s is not None:
            return MediaError(
                f"decoding did not finish within {timeout_s:g} s and was stopped",
                where=path,
                hint="Raise the time limit if the clip is long; otherwise it may be damaged. "
                + HINT_REENCODE,
            )
        return MediaError(
            f"the clip decoder crashed ({self._describe(code)})", where=path, hint=HINT_REENCODE
        )

    def _describe(self, code: int) -> str:
        if code < 0:
            with contextlib.suppress(ValueError):
                return signal.Signals(-code).name
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        return ": ".join([f"exit code {code}", *last])


pool = ClipPool()
atexit.register(pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget)
