"""One data file -> its rows: parquet, JSON Lines (packed or not), or one JSON document."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO, cast

from yoj_cli.errors import InputError, first_few, require
from yoj_cli.records.json_line import parse_line

KINDS = {
    ".parquet": "parquet",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".jsonl.gz": "lines",
    ".json": "document",
    ".json.gz": "document",
}
"""Ending -> how the file is read; a .json file that begins with an object a line is read as lines."""

MAX_LINE_BYTES = 256 << 20
MAX_DOCUMENT_BYTES = 4 << 30
BATCH_ROWS = 32
"""Rows of a parquet file in memory at once; each may hold pictures."""


def kind_of_file(name: str) -> str | None:
    """How a file with rows is read; None for any other file."""
    name = PurePosixPath(name.lower()).name
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), None)


def read_rows(stream: BinaryIO, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All rows, each with the place that errors name: "data.jsonl:17".

    Args:
        name: of the file, whose ending says what it is.
    Raises:
        InputError: it is not what its ending says, or a row is no object.
        UsageError: it is a parquet file and pyarrow is not installed.
    """
    kind = kind_of_file(name)
    if kind == "parquet":
        yield from _read_parquet(stream, name)
        return
    try:
        text = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if name.lower().endswith(".gz") else stream
        yield from (_read_lines(text, name) if kind == "lines" else _read_document(text, name))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the packed file is damaged or cut off: {error}", where=name) from error


def _read_lines(stream: IO[bytes], name: str, number: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        where = f"{name}:{number}"
        if len(line) > MAX_LINE_BYTES:
            raise InputError(f"the line is longer than {MAX_LINE_BYTES:,} bytes", where=where)
        row = parse_line(line, where=where)
        if row is not None:
            yield where, row


def _read_document(stream: IO[bytes], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A list of objects, an object that holds one such list ({"pairs": […]}), or JSON Lines under another ending."""
    content = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise InputError(f"the document is larger than {MAX_DOCUMENT_BYTES >> 30} GiB", where=name)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        lines = content.split(b"\n")
        if len(lines) > 1 and lines[0].strip()[-1:] == b"}":
            for number, line in enumerate(lines, start=1):
                row = parse_line(line, where=f"{name}:{number}")
                if row is not None:
                    yield f"{name}:{number}", row
            return
        raise InputError(f"the file is not JSON: {error}", where=name) from error
    yield from _rows_of(document, name)


def _rows_of(document: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(document, dict):
        lists = {key: each for key, each in document.items() if _is_rows(each)}
        if len(lists) != 1:
            raise InputError(
                f"expected a list of objects, found an object with {first_few(sorted(document), 8) or 'nothing'}",
                where=name,
            )
        document = next(iter(lists.values()))
    if not isinstance(document, list):
        raise InputError("expected a list of objects", where=name)
    for number, row in enumerate(document, start=1):
        if not isinstance(row, dict):
            raise InputError("expected an object", where=f"{name}, entry {number}")
        yield f"{name}, entry {number}", row


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _read_parquet(stream: BinaryIO, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    check_pyarrow(name)
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        file = parquet.ParquetFile(stream)
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            rows = batch.to_pylist()
            for row in rows:
                number += 1
                yield f"{name}, row {number}", row
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: a text that is not UTF-8
        raise InputError(
            f"the parquet file cannot be read: {str(error).splitlines()[0]}", where=name
        ) from error


def check_pyarrow(where: str) -> None:
    """Refuse to begin without the library that reads parquet.

    Raises:
        UsageError: naming what to install.
    """
    require("a parquet file", "pyarrow", extra="eval", where=where)
