"""The body of a request as records: read within limits of size and time, then parsed like lines of a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
from starlette.requests import Request

from yoj_cli.config.io import InputConfig
from yoj_cli.errors import InputError, YojError, errors_at
from yoj_cli.groups import Failure, Group, Media, shorten
from yoj_cli.records.json_line import check_values, is_blank, parse_line, parse_text
from yoj_cli.records.parse import parse
from yoj_cli.records.stores import is_store
from yoj_cli.records.turns import kind_of
from yoj_cli.serve.admission import Reservation
from yoj_cli.serve.problems import Problem

ONE, LINES = "application/json", ("application/x-ndjson", "application/ndjson", "application/jsonl")
HINT_MEDIA = "Send the file as a data: URL (data:image/png;base64,…), or start the server with --media-root."
PARSE_IN_THREAD_BYTES = 1 << 16
"""A larger body is parsed in a thread."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Body:
    """What a request asks about.

    Attributes:
        items: a group or its failure for each record.
        is_one: it was a record alone, which is answered by one.
    """

    items: Sequence[Group | Failure]
    is_one: bool


async def read_body(request: Request, reservation: Reservation, *, timeout_s: float) -> bytes:
    """All bytes of a body, whose type the caller has checked.

    Raises:
        Problem: it is packed, too large, or does not come in time.
        ClientDisconnect: the client hung up.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            415, "wrong-type", f"a body in the encoding {encoding[:40]!r} is not read",
            hint="Send it without Content-Encoding.", headers={"Accept-Encoding": "identity"},
        )  # fmt: skip
    promised = request.headers.get("content-length", "")
    if promised.isdecimal():
        reservation.check_size(int(promised))
    body = bytearray()
    try:
        with anyio.fail_after(timeout_s):
            async for chunk in request.stream():
                reservation.add_bytes(len(chunk))
                body += chunk
    except TimeoutError as error:
        raise Problem(
            408, "too-slow", f"the body did not come within {timeout_s:g} s",
            hint="Send less at a time (--body-timeout).",
        ) from error  # fmt: skip
    return bytes(body)


async def parse_body(raw: bytes, kind: str, media: InputConfig, reservation: Reservation) -> Body:
    """The records of a body, each parsed as a line of a file is.

    Args:
        kind: its type, ONE or one of LINES.
    Raises:
        Problem: it is no JSON at all, or holds too many records.
    """
    parse_kind = _parse_json if kind == ONE else _parse_lines
    return await in_thread(len(raw), parse_kind, raw, Reader(media), reservation)


async def in_thread(n_bytes: int, parse_it: Callable[..., Found], *given: Any) -> Found:
    """What parsing a body gives; of a large one, others are answered meanwhile."""
    if n_bytes < PARSE_IN_THREAD_BYTES:
        return parse_it(*given)
    return await asyncio.to_thread(parse_it, *given)


def check_type(request: Request, *known: str) -> str:
    """The type of a body, of those that are known.

    A page elsewhere cannot send these without asking (CORS), which no answer of ours allows.

    Raises:
        Problem: it is another.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in known:
        lines = f" (a record, or a list) or {LINES[0]} (a record a line)" if LINES[0] in known else ""
        raise Problem(
            415, "wrong-type", f"a body of the type {kind[:60]!r} is not read" if kind else "the body has no type",
            hint=f"Send Content-Type: {ONE}{lines}.",
            headers={"Accept-Post": ", ".join(name for name in (ONE, LINES[0]) if name in known)},
        )  # fmt: skip
    return kind


@dataclass(frozen=True)
class Reader:
    """A record as a group, within the limits of a server."""

    media: InputConfig

    def read(self, record: Any, where: str, number: str) -> Group | Failure:
        """A group, or why the record is none."""
        try:
            with errors_at(where):
                if not isinstance(record, dict):
                    raise InputError(f"expected a JSON object, found {kind_of(record)}")
                group = parse(
                    record,
                    where=where,
                    default_id=number,
                    media_root=self.media.media_root,
                    limits=self.media,
                )
                self._check(group)
                return group
        except YojError as error:
            return Failure(where, record if isinstance(record, Mapping) else {}, error)

    def read_line(self, line: bytes, number: int) -> tuple[Group | Failure, bool] | None:
        """What a line holds, and whether that is a JSON object; None for a blank line."""
        where = f"line {number}"
        try:
            with errors_at(where):
                if len(line) > self.media.max_line_bytes:
                    raise InputError(
                        f"the line has {len(line):,} bytes, more than is read (--max-line-mb)",
                        hint="Make the pictures smaller.",
                    )
                if (record := parse_line(line, where=where, max_values=self.media.max_line_values)) is None:
                    return None
        except YojError as error:
            return Failure(where, {}, error), False
        return self.read(record, where, str(number)), True

    def _check(self, group: Group) -> None:
        """Refuse what only the server's owner may name."""
        for media in group.media:
            for each in media.frames or (media,):
                _check_source(each, has_root=self.media.media_root is not None)


def _check_source(media: Media, *, has_root: bool) -> None:
    """Refuse what the server's owner did not mean to show."""
    source = str(media.source)
    if is_store(source):
        raise InputError(
            "addresses of object stores are not read by a server", where=shorten(source), hint=HINT_MEDIA
        )
    if not has_root and (media.path or not source):
        raise InputError("files of the server are not read", where=shorten(source), hint=HINT_MEDIA)


def parse_document(raw: bytes, media: InputConfig) -> Any:
    """A body that is one JSON value.

    Raises:
        Problem: it is none.
    """
    try:
        check_values(raw, media.max_line_values)
        return parse_text(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _no_json(f"the body is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        what = f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise _no_json(what) from error
    except InputError as error:
        raise _no_json(error.what, error.hint) from error
    except (RecursionError, ValueError) as error:
        raise _no_json("the body is nested too deep, or holds an integer of thousands of digits") from error


def _parse_json(raw: bytes, reader: Reader, reservation: Reservation) -> Body:
    document = parse_document(raw, reader.media)
    if isinstance(document, list):
        reservation.check_number(len(document))
        return Body(
            [reader.read(each, f"record {n}", str(n)) for n, each in enumerate(document, start=1)], False
        )
    return Body([reader.read(document, "", "1")], True)


def _parse_lines(raw: bytes, reader: Reader, reservation: Reservation) -> Body:
    reservation.check_number(raw.count(b"\n"), "lines")
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), start=1) if not is_blank(line)]
    found = [item for number, line in lines if (item := reader.read_line(line, number)) is not None]
    if found and not any(is_json for _, is_json in found):
        (first, _), *_ = found
        assert isinstance(first, Failure)
        raise _no_json(str(first.error).partition("\n")[0], first.error.hint)
    return Body([item for item, _ in found], False)


def _no_json(what: str, hint: str = "") -> Problem:
    return Problem(
        400, "bad-request", what, hint=hint or "Send one JSON object, a list of them, or one a line."
    )
