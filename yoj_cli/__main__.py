"""The console script, and `python -m yoj_cli`: Ctrl-C is quiet from here on, also while libraries are imported."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line."""
    # Nothing has begun that would need to be ended in good order; an import that is interrupted prints a traceback.
    signal.signal(signal.SIGINT, _end_at_once)
    from yoj_cli.cli.main import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
