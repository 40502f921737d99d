"""One decoder's process as its parent sees it: started, asked, and ended when it keeps no limit."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from yoj_cli.errors import MediaError
from yoj_cli.media.hints import HINT_BROKEN, HINT_REENCODE
from yoj_cli.media.memory_file import open_memory_file

MEDIA_PER_PROCESS = 500
"""A decoder is replaced after so many, because decord is known to leak memory."""
KEPT_BYTES = 64 << 20
"""Shared memory that a decoder keeps for the next picture; a clip's becomes the clip's own."""
MAX_START_S = 60.0
MAX_REPLY_BYTES = 16 << 20
CRASHES = {-signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL, -signal.SIGSEGV}
HINTS = {"picture": HINT_BROKEN, "clip": HINT_REENCODE}

PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; from yoj_cli.media.decoder import serve; serve(int(sys.argv[1]))"
)
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # threads' stacks would count as memory of the medium
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    # A picture's memory is kept for the next one instead of being given back and zeroed anew; not that of the largest.
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(96 << 20),
}


class RefusedError(Exception):
    """The decoder says what is wrong with the medium.

    Attributes:
        is_spent: it may hold memory of that medium's still, and takes no other.
    """

    def __init__(self, what: str, hint: str, *, is_spent: bool) -> None:
        super().__init__(what)
        self.what, self.hint, self.is_spent = what, hint, is_spent


class CrashedError(MediaError):
    """The decoder's process ended by a signal that its own code gave it."""


@dataclass(frozen=True)
class Limits:
    """What decoding one medium may take: seconds by the clock and of the processor, bytes of memory."""

    timeout_s: float
    cpu_s: float
    memory_bytes: int


class DecoderProcess:
    """Starts at once and is asked by one thread at a time.

    Args:
        lifeline: end of a pipe whose other end closes with this program.
    """

    def __init__(self, lifeline: int) -> None:
        self._n_asked = 0
        self._has_started = False
        self._mapped: mmap.mmap | None = None
        # Where the system is out of processes or files, those that were opened are closed again.
        with contextlib.ExitStack() as opened:
            self._memory = open_memory_file()
            opened.callback(os.close, self._memory)
            self._log = open_memory_file(may_shrink=True)
            opened.callback(os.close, self._log)
            self._connection, theirs = socket.socketpair()
            opened.callback(self._connection.close)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", PROGRAM, str(lifeline), *sys.path],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    pass_fds=[lifeline],
                    env={**os.environ, **ENVIRONMENT},
                    start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
                )
            opened.pop_all()

    def is_usable(self) -> bool:
        return self._n_asked < MEDIA_PER_PROCESS and self._process.poll() is None

    def ask(self, request: dict[str, Any], file: int, where: str, limits: Limits) -> dict[str, Any]:
        """Hand over a file and wait for the answer.

        Raises:
            RefusedError: the decoder's own words.
            MediaError: it took too long, or ended (CrashedError: by its own doing).
            ValueError: it answered what is no reply.
        """
        self._n_asked += 1
        kind = medium_of(request)
        line = json.dumps({**request, "cpu_s": limits.cpu_s, "memory_bytes": limits.memory_bytes})
        try:
            if not self._has_started:
                self._has_started = self._read_line(time.monotonic() + MAX_START_S) == b"\n"
            deadline = time.monotonic() + limits.timeout_s
            socket.send_fds(self._connection, [line.encode()], [file, self._memory])
            reply = json.loads(self._read_line(deadline))
        except TimeoutError as error:
            self.kill()
            if not self._has_started:
                raise MediaError(
                    f"the {kind} decoder did not start within {MAX_START_S:g} s",
                    where=where,
                    hint="Try again when the machine is less busy.",
                ) from error
            raise _late(kind, f"{limits.timeout_s:g} s", where) from error
        except (OSError, EOFError, ValueError) as error:
            raise self._failure(kind, where, limits) from error
        if not isinstance(reply, dict):
            raise ValueError("a reply that is none")
        if "error" in reply:
            raise RefusedError(reply["error"], reply["hint"], is_spent=bool(reply.get("is_spent")))
        return reply

    @contextlib.contextmanager
    def pixels(self, n_bytes: int) -> Iterator[memoryview]:
        """The first bytes that the decoder wrote; ValueError where it wrote fewer."""
        if self._mapped is None or len(self._mapped) < n_bytes:
            self._unmap()
            self._mapped = mmap.mmap(self._memory, n_bytes)
        try:
            with memoryview(self._mapped) as whole, whole[:n_bytes] as pixels:
                yield pixels
        finally:
            if n_bytes > KEPT_BYTES:
                self._renew_memory()

    def give_memory(self, n_bytes: int) -> mmap.mmap:
        """What the decoder wrote, for the caller to keep; ValueError where it is less."""
        memory = mmap.mmap(self._memory, n_bytes)
        self._renew_memory()
        return memory

    def kill(self) -> None:
        """End the process; who waits for its answer gets an error, and has to `end` it."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Kill it and give everything back; once, and by the thread that asks it, if one does."""
        self.kill()
        self._unmap()
        self._connection.close()
        for handle in (self._memory, self._log):
            os.close(handle)

    def _read_line(self, deadline: float) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            self._connection.settimeout(max(deadline - time.monotonic(), 1e-3))
            chunk = self._connection.recv(1 << 16)
            if not chunk or len(line) > MAX_REPLY_BYTES:
                raise EOFError
            line += chunk
        return bytes(line)

    def _renew_memory(self) -> None:
        self._unmap()
        os.close(self._memory)
        self._memory = open_memory_file()

    def _unmap(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None

    def _failure(self, kind: str, where: str, limits: Limits) -> MediaError:
        self._process.kill()
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return _late(kind, f"{limits.cpu_s:g} s of the processor's time", where)
        crashed = CrashedError if code in CRASHES else MediaError
        return crashed(f"the {kind} decoder crashed ({self._describe(code)})", where=where, hint=HINTS[kind])

    def _describe(self, code: int) -> str:
        if code < 0:
            with contextlib.suppress(ValueError):
                return signal.Signals(-code).name
        size = os.fstat(self._log).st_size
        last = os.pread(self._log, 4096, max(0, size - 4096)).decode(errors="replace").strip().splitlines()
        return ": ".join([f"exit code {code}", *last[-1:]])


def medium_of(request: dict[str, Any]) -> str:
    """What a request is about, for messages: "clip" or "picture"."""
    return "clip" if request["kind"].startswith("clip") else "picture"


def _late(kind: str, limit: str, where: str) -> MediaError:
    what = f"decoding did not finish within {limit} and was stopped"
    advice = (
        "Raise the time limit if the clip is long; otherwise it may be damaged."
        if kind == "clip"
        else "It may be damaged."
    )
    return MediaError(what, where=where, hint=f"{advice} {HINTS[kind]}")
