"""What a file is that is not JSON Lines: seen from its first line, said once, with the way to make lines of it."""

from __future__ import annotations

import codecs
import json

from yoj_cli.errors import InputError

PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip -c"),
    b"BZh": ("bzip2", "bunzip2 -c"),
    b"\xfd7zXZ\x00": ("xz", "xz -dc"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "zstd -dc"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
"""First bytes -> what it is, and what unpacks it."""

TABLES = {b"PAR1": ("Parquet", "read_parquet"), b"ARROW1": ("Arrow", "read_feather")}
"""First bytes -> what it is, and what in pandas reads it."""

WIDE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"{\x00": "UTF-16LE",
    b"[\x00": "UTF-16LE",
    b"\x00{": "UTF-16BE",
    b"\x00[": "UTF-16BE",
}
"""First bytes -> the encoding that text begins with; the longer before the shorter."""


def refuse_other_kinds(line: bytes, *, name: str, command: str = "yoj score -") -> None:
    """See that a file can be JSON Lines.

    Args:
        line: its first line that is not blank, with its line break.
        name: the file, or "stdin".
        command: what lines of JSON would be piped into.
    Raises:
        InputError: it is packed, a table, in another encoding, or one JSON document over many lines.
    """
    source = "FILE" if name == "stdin" else name
    for start, (kind, unpack) in PACKED.items():
        if line.startswith(start):
            raise _not_lines(f"a {kind} file", name, f"{unpack} {source}", command)
    for start, (kind, reader) in TABLES.items():
        if line.startswith(start):
            hint = f"Write its rows as lines: pandas.{reader}(…).to_json(…, orient='records', lines=True)."
            raise InputError(f"this is a {kind} file, not JSON Lines", where=name, hint=hint)
    for start, encoding in WIDE.items():
        if line.startswith(start):
            raise _not_lines(f"{encoding} text", name, f"iconv -f {encoding} -t UTF-8 {source}", command)
    if begins_a_document(line):
        kind, filters = ("array", "'.[]'") if line.lstrip().startswith(b"[") else ("object", ".")
        raise _not_lines(f"one JSON {kind} over many lines", name, f"jq -c {filters} {source}", command)


def _not_lines(kind: str, name: str, convert: str, command: str) -> InputError:
    return InputError(
        f"this is {kind}, not JSON Lines", where=name, hint=f"Convert it: {convert} | {command}"
    )


def begins_a_document(line: bytes) -> bool:
    """Whether a line is the first of several that hold one JSON document together.

    A line that was cut off looks different: it has no line break, or does not stop where a value may follow.
    """
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    content = text.strip()
    if not text.endswith("\n") or content[:1] not in ("{", "[") or content[-1] not in "{[,:":
        return False
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return error.pos >= len(content)
    except (ValueError, RecursionError):
        pass
    return False
