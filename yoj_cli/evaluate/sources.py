"""Where a data set's rows lie: a local copy (so far JSON Lines), or the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Source
from yoj_cli.records.json_line import parse_line


class LocalFile:
    """One JSON Lines file; media paths start from its folder."""

    revision = ""

    def __init__(self, path: Path) -> None:
        self.name, self.folder = str(path), str(path.parent)

    def rows(self, *likely: str) -> Iterator[Mapping[str, Any]]:
        try:
            with open(self.name, "rb") as stream:
                for number, line in enumerate(stream, start=1):
                    row = parse_line(line, where=f"{self.name}:{number}")
                    if row is not None:
                        yield row
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=self.name) from error

    def save_media(self, content: bytes, name: str) -> str:
        path = os.path.join(self.folder, name)
        Path(path).write_bytes(content)
        return path


def open_source(hub_id: str, revision: str, data: Path | None = None) -> Source:
    """The rows of a data set.

    Args:
        data: a local copy; None takes the Hub's (from the cache, where it is there).
    Raises:
        InputError: there is no such copy, or it holds no rows that can be read.
    """
    if data is None:
        raise InputError(
            "reading from the Hub is not there yet", where=hub_id, hint="Give a copy: --data PATH."
        )
    return LocalFile(data)


def is_cached(hub_id: str, revision: str) -> bool:
    """Whether the Hub's copy is on this machine already."""
    return False
