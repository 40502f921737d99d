"""The command line as a process of its own: behind a pipe, on a terminal, interrupted."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
YOJ = [sys.executable, "-c", "from yoj_cli.__main__ import main; main()"]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"env": environment(), "capture_output": True, "timeout": 120, **options}
    return subprocess.run([*YOJ, *map(str, arguments)], **options)


def run_on_terminal(
    arguments: Sequence[object], *, columns: int, keep_stdout: bool = False
) -> tuple[int, str, bytes]:
    """Run on a terminal of that width.

    Args:
        keep_stdout: standard output is a pipe, and only the messages go to the terminal.
    Returns:
        Exit code, what the terminal was sent, and what the pipe was sent.
    """
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    changes = {"TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}
    process = subprocess.Popen(
        [*YOJ, *map(str, arguments)],
        stdin=theirs,
        stdout=subprocess.PIPE if keep_stdout else theirs,
        stderr=theirs,
        env={name: value for name, value in environment(**changes).items() if value},
        start_new_session=True,
    )
    os.close(theirs)
    sent = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            sent += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    return process.returncode, sent.decode().replace("\r\n", "\n"), out or b""
