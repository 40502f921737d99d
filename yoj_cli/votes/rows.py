"""Files of votes to rows: JSON Lines or CSV, told apart by their first character."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

from yoj_cli.config.limits import LIMITS, LineLimits
from yoj_cli.errors import InputError
from yoj_cli.records.file_kinds import refuse_other_kinds
from yoj_cli.records.json_line import is_blank, parse_line
from yoj_cli.records.lines import Oversized, bounded_lines, open_lines

Raw = tuple[str, "Mapping[str, Any] | InputError"]
"""Where a row stands, and its columns or what is wrong with it."""

CELL_LIMIT = 1 << 27
"""Characters of a CSV cell; Python's own limit, 131,072, is below a long response."""


def read_rows(path: str, limits: LineLimits = LIMITS) -> Iterator[Raw]:
    """The rows of a file, one at a time.

    Args:
        path: a file, packed with gzip or Zstandard or not; "-" for standard input.
        limits: of its lines.
    Raises:
        InputError: the file cannot be read, or is of another kind. Bad rows are yielded as errors.
    """
    name = "stdin" if path == "-" else path
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open_lines(path) as stream:
            lines = bounded_lines(stream, max_bytes=limits.max_line_bytes, name=name)
            numbered = enumerate(lines, start=1)
            first = next(((number, line) for number, line in numbered if not is_blank(line)), None)
            if first is None:
                return
            refuse_other_kinds(first[1], name=name, command="yoj votes rank -")
            if first[1].decode("utf-8-sig", "replace").lstrip()[:1] in ("{", "["):
                yield from _read_json(chain([first], numbered), name, limits)
            else:
                yield from _read_csv(chain([first[1]], (line for _, line in numbered)), name, first[0])
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=name) from error


def _read_json(lines: Iterable[tuple[int, bytes]], name: str, limits: LineLimits) -> Iterator[Raw]:
    for number, line in lines:
        where = f"{name}:{number}"
        try:
            if isinstance(line, Oversized):
                raise line.refusal(where)
            record = parse_line(line, where=where, max_values=limits.max_line_values)
        except InputError as error:
            yield where, error
        else:
            if record is not None:
                yield where, record


def _read_csv(lines: Iterable[bytes], name: str, start: int) -> Iterator[Raw]:
    """Rows of a table with a header; an empty cell counts as absent."""
    text = (_decode(line, f"{name}:{number}") for number, line in enumerate(lines, start=start))
    with _long_cells():
        reader = csv.reader(text, strict=True)
        header: list[str] = []
        before = start - 1
        while True:
            where = f"{name}:{before + 1}"
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise InputError(f"this is not CSV: {error}", where=where) from error
            if cells is None:
                return
            before = start - 1 + reader.line_num
            if not header:
                header = _check_header(cells, where)
            elif len(cells) == len(header):
                yield where, {key: cell for key, cell in zip(header, cells, strict=True) if cell != ""}
            elif cells:
                what = f"the row has {len(cells)} cells, and the header {len(header)}"
                yield where, InputError(what, where=where)


def _check_header(cells: list[str], where: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    twice = next((cell for cell in header if header.count(cell) > 1), None)
    if twice is not None:
        raise InputError(f"two columns are called {twice[:60]!r}", where=where)
    return header


def _decode(line: bytes, where: str) -> str:
    if isinstance(line, Oversized):
        raise line.refusal(where)
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the line is not UTF-8 (byte {error.start})", where=where, hint="Save the file as UTF-8 text."
        ) from error


@contextmanager
def _long_cells() -> Iterator[None]:
    limit = csv.field_size_limit(CELL_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
