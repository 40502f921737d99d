"""Rewrite the completion scripts beside this file from the installed command: python completions/generate.py"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NAMES = {"bash": "yoj.bash", "zsh": "_yoj", "fish": "yoj.fish"}


def render(shell: str) -> str:
    """The script that `yoj` itself prints for a shell."""
    code = "from yoj_cli.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_YOJ_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() + "\n"


def main() -> None:
    for shell, name in NAMES.items():
        (Path(__file__).parent / name).write_text(render(shell), encoding="utf-8")


if __name__ == "__main__":
    main()
