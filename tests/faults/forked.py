"""The command in forked processes: as cheap as a call, and can be killed like a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Forked:
    """A command that runs in a fork of this process, its standard error in a file.

    Args:
        before: called in the child, to break something there.
    """

    def __init__(self, *arguments: object, log: Path, before: Callable[[], None] = lambda: None) -> None:
        self.log = log
        self.pid = os.fork()
        if self.pid == 0:
            self._become(arguments, before)

    def _become(self, arguments: tuple[object, ...], before: Callable[[], None]) -> None:
        code = 1
        try:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            sys.argv = ["yoj", *map(str, arguments)]
            if "torch" in sys.modules:  # the threads of a pool do not come along
                sys.modules["torch"].set_num_threads(1)
            before()
            from yoj_cli.__main__ import main

            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def is_running(self) -> bool:
        return not hasattr(self, "code") and self._poll(os.WNOHANG) is None

    def wait(self, timeout_s: float = 60.0) -> int:
        """The exit code; minus the signal's number where one ended it."""
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline:
                self.kill(signal.SIGKILL)
                raise TimeoutError(self.said())
            time.sleep(0.005)
        return self.code

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _poll(self, options: int) -> int | None:
        pid, status = os.waitpid(self.pid, options)
        if pid == 0:
            return None
        self.code = os.waitstatus_to_exitcode(status)
        return self.code
