"""Rewrite cli.md, every command with all its options, from the commands themselves: python docs/cli.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from yoj_cli.cli.main import app, register

PAGE = Path(__file__).with_name("cli.md")
WIDTH_COLUMNS = 100

HEAD = """\
# Commands and options

What `yoj COMMAND --help` prints. This page is written by `python docs/cli.py`, and a test fails when it is stale.
Scripts that complete commands and options in bash, zsh and fish are in [`completions/`](../completions);
`yoj --install-completion` installs the one of your shell.
"""


def render() -> str:
    """The page."""
    register()
    root: Any = get_command(app)
    return "\n".join([HEAD, *_sections(root, "yoj", "yoj", None)])


def _sections(command: Any, name: str, title: str, parent: Any) -> Iterator[str]:
    """The command's own, then those of its commands."""
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH_COLUMNS
    )
    yield _section(title, command.get_help(context))
    for child in command.list_commands(context) if hasattr(command, "commands") else ():
        yield from _sections(command.commands[child], child, f"{title} {child}", context)


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
