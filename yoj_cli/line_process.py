"""A process that answers lines of JSON, one at a time, and is ended when an answer takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import weakref
from collections.abc import Sequence
from typing import Any


class NoReplyError(Exception):
    """A question that was not answered, and why."""


class LineProcess:
    """A child that is asked from any thread. It starts with the first question, and again with the next after its end.

    Args:
        command: starts it.
        first: what it is told once, in a line of its own.
        limit_s: time for one answer.
    """

    def __init__(self, command: Sequence[str], first: Any, *, limit_s: float) -> None:
        self._command, self._limit_s = list(command), limit_s
        self._first = json.dumps(first).encode() + b"\n"
        self._forget()

    def ask(self, question: Any) -> Any:
        """The answer to a question; both are JSON.

        Raises:
            NoReplyError: the process took too long, or ended.
        """
        if self._owner != os.getpid():
            self._forget()  # in a forked child the process, and whoever holds the lock, are the parent's
        with self._lock:
            return self._ask(json.dumps(question).encode() + b"\n")

    def close(self) -> None:
        """End it; a further question starts it again."""
        with self._lock:
            self._stop()

    def _forget(self) -> None:
        self._lock, self._owner = threading.Lock(), os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes], int], LineProcess] | None = None

    def _ask(self, line: bytes) -> Any:
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._limit_s, kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        except (OSError, ValueError) as error:
            self._stop()
            what = f"it did not end within {self._limit_s:g} s" if late.is_set() else "it ended its process"
            raise NoReplyError(what) from error
        except BaseException:
            self._stop()  # interrupted: the answer that is yet to come is to another question than the next
            raise
        finally:
            timer.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        process = self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        )
        self._end = weakref.finalize(self, _end, process, self._owner)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it says so when it is asked
            process.stdin.write(self._first)
        return process

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._process = self._end = None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # an unsent request is lost with its reader
                pipe.close()
