"""Groups that failed are scored again: their lines are replaced, all others stay as they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Set
from pathlib import Path

from yoj_cli.errors import UsageError
from yoj_cli.records.lines import PackedWriter, open_lines
from yoj_cli.storage.writing import aside_of


def find_failed(output: Path) -> frozenset[int]:
    """Numbers, from 0 on, of the lines that are an error."""
    with open_lines(output) as lines:
        return frozenset(number for number, line in enumerate(lines) if _is_error(line))


def replace_lines(output: Path, numbers: Set[int], next_line: Callable[[], str]) -> int:
    """Write an output anew with some of its lines replaced; it changes as a whole, at the end.

    Args:
        next_line: called for each of the numbers in ascending order.
    Returns:
        The new size in bytes.
    Raises:
        UsageError: it cannot be written.
    """
    aside = aside_of(output)
    try:
        with open_lines(output) as lines, aside.open("wb") as file:
            packed = PackedWriter(file, output.name)
            for line in _replaced(lines, numbers, next_line):
                packed.write(line)
            packed.end_member()
            os.fsync(file.fileno())
            n_bytes = file.tell()
        aside.replace(output)
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror or error})", where=str(output)) from error
    finally:
        aside.unlink(missing_ok=True)
    return n_bytes


def _replaced(lines: Iterator[bytes], numbers: Set[int], next_line: Callable[[], str]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        yield next_line().encode("utf-8") if number in numbers else line


def _is_error(line: bytes) -> bool:
    if b'"error"' not in line:
        return False
    record = json.loads(line)
    return "error" in record and "scores" not in record
