"""One line of a JSON Lines file -> a dictionary, or the reason why not.

Stricter than Python's `json`, which guesses: NaN is not JSON, of two equal keys neither is the right one, and
a number too large for a float is not infinity. What is read here can be written back as the same JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from yoj_cli.config.limits import LIMITS
from yoj_cli.errors import InputError

MAX_DEPTH = 100
"""Lists and objects inside each other; Python's own writer gives up at about a thousand."""

TEXT = re.compile(rb'"[^"]*"')


def is_blank(line: bytes) -> bool:
    """Whether a line holds nothing to parse: white space, perhaps after a byte order mark."""
    if line[:1] == b"{":  # nearly all
        return False
    return not line.decode("utf-8-sig", "replace").strip()


def parse_line(line: bytes, *, where: str, max_values: int = LIMITS.max_line_values) -> dict[str, Any] | None:
    """The JSON object on a line, None for a blank line.

    Args:
        max_values: of texts, numbers, lists and objects, whose memory and time are many times those of the line.
    Raises:
        InputError: not UTF-8, not JSON, not an object, or of too many values.
    """
    try:
        check_values(line, max_values)
        text = line.decode("utf-8-sig").rstrip()
        if not text:
            return None
        record = parse_text(text)
    except UnicodeDecodeError as error:
        raise InputError(
            f"the line is not UTF-8 (byte {error.start})",
            where=where,
            hint="Save the file as UTF-8 text; unpack it first if it is compressed.",
        ) from error
    except json.JSONDecodeError as error:
        hint = "One JSON object per line is expected; `jq -c .` writes that." if _is_spread_out(text) else ""
        what = f"the line is not JSON: {error.msg} (column {error.colno})"
        raise InputError(what, where=where, hint=hint) from error
    except RecursionError as error:
        raise InputError(f"the line is nested more than {MAX_DEPTH} deep", where=where) from error
    except InputError as error:
        error.where = where
        raise
    except ValueError as error:  # Python's limit on digits
        raise InputError("the line holds an integer of thousands of digits", where=where) from error
    if isinstance(record, dict):
        return record
    found = "a list" if isinstance(record, list) else f"{text[:40]!r}"
    hint = "`jq -c '.[]'` writes a list as lines." if isinstance(record, list) else ""
    raise InputError(f"expected a JSON object, found {found}", where=where, hint=hint)


def parse_text(text: str) -> Any:
    """Any JSON, as strictly as a line.

    Raises:
        InputError: a key twice, a number that is none or too large, or too many levels.
        ValueError, RecursionError: whatever `json` finds.
    """
    found = json.loads(text, object_pairs_hook=_object, parse_float=_float, parse_constant=_refuse_constant)
    if isinstance(found, (dict, list)):
        _check_depth(found)
    return found


def check_values(line: bytes, max_values: int) -> None:
    """Refuse JSON of more values, by the commas and brackets that stand between them.

    Raises:
        InputError: there are more.
    """
    if _count_signs(line) < max_values:  # nearly all
        return
    texts_out = TEXT.sub(b"", line.replace(rb"\\", b"").replace(rb"\"", b""))  # a text may be full of commas
    if _count_signs(texts_out) >= max_values:
        raise InputError(
            f"it holds more than {max_values:,} texts, numbers, lists and objects (--max-line-values)",
            hint="Leave out what is no part of the group, or raise --max-line-values.",
        )


def _count_signs(line: bytes) -> int:
    return sum(map(line.count, (b",", b"[", b"{")))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise InputError(f"the key {twice[:60]!r} stands twice in one object; keep one of the two")
    return found


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise InputError(f"the number {digits[:40]} is too large")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"{name} is not JSON", hint="Write null where there is no number.")


def _check_depth(record: Any) -> None:
    level = [record]
    for _ in range(MAX_DEPTH):
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise InputError(f"the line is nested more than {MAX_DEPTH} deep")


def _is_spread_out(line: str) -> bool:
    """It looks like one of several lines that hold one document together."""
    return line.strip() in ("{", "[") or line.lstrip()[:1] not in ("{", "[")
