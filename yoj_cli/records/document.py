"""Records in one JSON document, as the official trainer reads a file named .json: a list, or lists in one object."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError, YojError, errors_at
from yoj_cli.groups import Failure, Group
from yoj_cli.records.json_line import parse_text
from yoj_cli.records.parse import RESPONSES_KEYS, parse
from yoj_cli.records.turns import kind_of


def read_document(path: Path) -> dict[str, Any] | None:
    """The records of a file that is one JSON document, read as a whole; None where it holds JSON Lines.

    Returns:
        Each record by its place in the document: "[3]", or "pairs[3]" where the lists have names, which are read
        one after the other.
    Raises:
        InputError: the file cannot be read, is not JSON, or is neither a list nor an object with lists.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"the file is not UTF-8 (byte {error.start})", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    try:
        found = parse_text(text)
    except json.JSONDecodeError as error:
        if _first_line_is_whole(text):
            return None
        raise InputError(
            f"the file is not JSON: {error.msg} (line {error.lineno}, column {error.colno})", where=str(path)
        ) from error
    except InputError as error:
        error.where = str(path)
        raise
    except (ValueError, RecursionError) as error:
        raise InputError("the file holds numbers or levels beyond all measure", where=str(path)) from error
    if isinstance(found, list):
        return {f"[{index}]": record for index, record in enumerate(found)}
    if isinstance(found, dict) and not any(key in found for key in (*RESPONSES_KEYS, "chosen")):
        lists = {name: value for name, value in found.items() if isinstance(value, list)}
        if lists:
            return {
                f"{name}[{index}]": each for name, value in lists.items() for index, each in enumerate(value)
            }
    elif isinstance(found, dict):
        return None  # one line
    raise InputError(f"expected a list of groups, found {kind_of(found)}", where=str(path))


def parse_document(
    records: Mapping[str, Any],
    path: Path,
    *,
    media_root: str | os.PathLike[str] | None = None,
    limits: Limits = LIMITS,
) -> Iterator[Group | Failure]:
    """The groups of a document; a record that cannot be used gives a Failure in its place.

    Args:
        records: from `read_document`.
        path: the file, whose folder relative media paths start from.
        media_root: see `read_groups`.
        limits: of groups.
    """
    for number, (place, record) in enumerate(records.items(), start=1):
        where = f"{path}:{place}"
        try:
            if not isinstance(record, dict):
                raise InputError(f"expected a JSON object, found {kind_of(record)}", where=where)
            with errors_at(where):
                yield parse(
                    record,
                    where=where,
                    default_id=str(number),
                    folder=path.parent,
                    media_root=media_root,
                    limits=limits,
                )
        except YojError as error:
            yield Failure(where, record if isinstance(record, dict) else {}, error)


def _first_line_is_whole(text: str) -> bool:
    lines: Sequence[str] = text.lstrip().splitlines()
    try:
        return bool(lines) and isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return False
