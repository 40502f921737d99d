"""The console script, and `python -m yoj_cli`: stopping it is quiet from here on, also while libraries load."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Ctrl-C, what a scheduler sends, and a terminal that is closed: a run ends in good order for each of them."""


def main() -> NoReturn:
    """Run the command line."""
    # Nothing has begun that would need to be ended in good order; an import that is interrupted prints a traceback.
    wanted = [each for each in ENDING if signal.getsignal(each) != signal.SIG_IGN]  # nohup ignores one
    for each in wanted:
        signal.signal(each, _end_at_once)
    from yoj_cli.cli.main import main as run

    for each in wanted:
        signal.signal(each, signal.default_int_handler)
    run()


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
