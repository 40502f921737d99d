"""One JSON line -> one Group: the only parser of the line format.

Read besides the official training format `{"prompt", "responses", "rankings"?, "image" | "video"}`:
chat `messages`, `{"prompt", "chosen", "rejected"}` pairs (TRL), `candidates` for `responses`, `question` for
`prompt` and `ratings` (higher is better) for `rankings` (1 = best). Whatever else a line holds is carried through
to the output unchanged.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError, YojError, errors_at
from yoj_cli.groups import Failure, Group, Media, Message, absolute, id_of, local_path, scheme_of
from yoj_cli.records.file_kinds import refuse_other_kinds
from yoj_cli.records.json_line import is_blank, parse_line
from yoj_cli.records.lines import Oversized, bounded_lines, open_lines
from yoj_cli.records.selection import Selection
from yoj_cli.records.stores import is_store
from yoj_cli.records.turns import is_number, kind_of, one_of, parse_conversation, parse_text

RESPONSES_KEYS = ("responses", "candidates")
RANKINGS_KEYS = {"rankings": "1 = best", "ratings": "higher is better"}


def read_groups(
    path: str,
    stdin: Iterable[bytes] | None = None,
    *,
    media_root: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    selection: Selection | None = None,
    limits: Limits = LIMITS,
) -> Iterator[Group | Failure]:
    """Read a JSON Lines file one line at a time; memory does not grow with the file.

    Relative media paths start from the file's own folder; from the current one where it has none (a pipe).

    Args:
        path: a file, or "-" for `stdin`.
        stdin: the lines behind "-", as long as they may be; the process's own by default.
        media_root: the folder that media paths start from instead, and that none may leave.
        folder: where they start from instead, without that limit.
        selection: which lines are parsed; all by default. One selection may go on over several files.
        limits: what is over is a Failure; a line that is too long is never held.
    Raises:
        InputError: the file cannot be opened or read, or is of another kind (a table, one document over many
            lines). Bad lines are yielded as a Failure instead.
    """
    name = "stdin" if path == "-" else path
    if folder is None:
        is_place = is_store(path) or (path != "-" and os.path.isfile(path))
        folder = os.path.dirname(path) if is_place else ""
    selection = selection or Selection()
    is_begun = False
    try:
        with nullcontext() if path == "-" else open_lines(path) as stream:
            lines = stdin if path == "-" else None
            if lines is None:  # what the caller hands over is the caller's to bound
                lines = bounded_lines(stream or sys.stdin.buffer, max_bytes=limits.max_line_bytes, name=name)
            for number, line in enumerate(lines, start=1):
                if is_blank(line):
                    continue
                if selection.is_over:
                    return
                if not is_begun:
                    is_begun = True
                    refuse_other_kinds(line, name=name)
                if not selection.takes_next():
                    continue
                item = read_line(line, f"{name}:{number}", str(number), folder, media_root, limits)
                if item is not None:
                    yield item
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=name) from error


def parse_records(
    items: Iterable[Group | Failure | Mapping[str, Any]], limits: Limits = LIMITS
) -> Generator[Group | Failure, None, None]:
    """Groups as they are, and records as groups; one that cannot be used gives a Failure in its place.

    Args:
        items: a record has the fields of a JSON line; "record 3" is what errors call the third item, and "3" its id
            if it has none. Closed at the end if it can be.
        limits: of records.
    """
    try:
        for number, item in enumerate(items, start=1):
            yield item if isinstance(item, (Group, Failure)) else _parse_record(item, number, limits)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _parse_record(record: Any, number: int, limits: Limits) -> Group | Failure:
    where = f"record {number}"
    try:
        if not isinstance(record, Mapping):
            raise InputError(
                f"expected a group or a dictionary, found {kind_of(record)}",
                where=where,
                hint="Files are read by read_groups; one group alone is scored by `score` or `score_group`.",
            )
        with errors_at(where):
            return parse(record, where=where, default_id=str(number), limits=limits)
    except YojError as error:
        return Failure(where, record if isinstance(record, Mapping) else {}, error)


def read_line(
    line: bytes,
    where: str,
    number: str,
    folder: str | os.PathLike[str],
    media_root: str | os.PathLike[str] | None,
    limits: Limits = LIMITS,
) -> Group | Failure | None:
    """One line of a JSON Lines file; None for a blank one.

    Args:
        where: what an error calls the line.
        number: the group's id, where the line has none.
        folder, media_root: see `parse`.
        limits: of the line and its group.
    """
    record: dict[str, Any] | None = {}
    try:
        with errors_at(where):
            if isinstance(line, Oversized):
                raise line.refusal(where)
            record = parse_line(line, where=where, max_values=limits.max_line_values)
            if record is None:
                return None
            return parse(
                record,
                where=where,
                default_id=number,
                folder=folder,
                media_root=media_root,
                limits=limits,
            )
    except YojError as error:
        return Failure(where, record or {}, error)


def parse(
    record: Mapping[str, Any],
    *,
    where: str = "",
    default_id: str = "",
    folder: str | os.PathLike[str] = "",
    media_root: str | os.PathLike[str] | None = None,
    limits: Limits = LIMITS,
) -> Group:
    """One input record -> one Group.

    Args:
        folder: where relative media paths start; "" is the current folder.
        media_root: the folder that media paths start from instead, and that none may leave.
        limits: how many responses, pictures and clips there may be.
    Raises:
        InputError: a field is missing, contradicts another or has the wrong type, or there is too much of it.
    """
    try:
        responses, before = _parse_responses(record, limits.max_responses)
        messages = parse_conversation(record, before)
        _check_media(messages, limits.max_media)
        return Group(
            id=id_of(record, default_id),
            messages=_locate(messages, folder, media_root),
            responses=responses,
            rankings=_parse_rankings(record, len(responses)),
            record=record,
            where=where,
        )
    except InputError as error:
        error.where = error.where or where
        raise


def parse_values(given: Mapping[str, Any], limits: Limits = LIMITS) -> Group:
    """Python values under the names of a line's fields -> one Group; None is a field that is not there.

    Args:
        limits: see `parse`.
    Raises:
        InputError: something in the group cannot be used.
    """
    with errors_at(""):
        record = {name: _as_json(value) for name, value in given.items() if value is not None}
        return parse(record, limits=limits)


def _as_json(values: Any) -> Any:
    """A list, as JSON has it, of what Python holds in an order; what is one thing is left for the parser to judge."""
    is_array = len(getattr(values, "shape", (0,))) in (0, 2, 3)  # one picture, or none that is known
    if is_array or isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable):
        return values
    return list(values)


def _locate(
    messages: tuple[Message, ...],
    folder: str | os.PathLike[str],
    media_root: str | os.PathLike[str] | None,
) -> tuple[Message, ...]:
    """The turns with the paths of their media as seen from the record's folder."""
    start = os.fspath(folder if media_root is None else media_root)
    root = None if media_root is None else absolute(start)

    def locate(block: Media) -> Media:
        if block.frames:
            return replace(block, frames=tuple(map(locate, block.frames)))
        if is_store(start) and isinstance(block.source, str) and scheme_of(block.source) == "":
            return replace(block, source=f"{start}/{block.source}", path="")
        return replace(block, path=local_path(block.source, start), root=root)

    return tuple(
        Message(turn.role, tuple(block if isinstance(block, str) else locate(block) for block in turn.blocks))
        for turn in messages
    )


def _check_media(messages: Sequence[Message], max_media: int) -> None:
    n_media = sum(isinstance(block, Media) for turn in messages for block in turn.blocks)
    if n_media > max_media:
        raise InputError(
            f"the group has {n_media:,} pictures and clips, over the limit of {max_media:,} (--max-media)",
            hint="Show fewer, or raise --max-media.",
        )


def _parse_responses(
    record: Mapping[str, Any], max_responses: int
) -> tuple[tuple[str, ...], list[Any] | None]:
    """The responses, and the turns in front of them where they are conversations of their own."""
    key, raw = one_of(record, RESPONSES_KEYS)
    is_pair = any(record.get(name) is not None for name in ("chosen", "rejected"))
    if key is not None and is_pair:
        raise InputError(f"the line has both {key!r} and 'chosen'/'rejected'; keep one of the two")
    if key is None:
        named = _pair(record)
    elif isinstance(raw, list) and raw:
        if len(raw) > max_responses:
            raise InputError(
                f"the group has {len(raw):,} responses, over the limit of {max_responses:,} (--max-responses)",
                hint="Divide it into several groups, or raise --max-responses.",
            )
        named = {f"{key}[{index}]": item for index, item in enumerate(raw)}
    else:
        raise InputError(f"{key!r} must be a list of at least one text, found {kind_of(raw)}")
    parsed = [_parse_response(item, name) for name, item in named.items()]
    before = parsed[0][1]
    if any(turns != before for _, turns in parsed):
        raise InputError("the responses begin with different turns; they must answer one prompt")
    return tuple(text for text, _ in parsed), before


def _pair(record: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in ("chosen", "rejected") if record.get(name) is None]
    if len(missing) == 2:
        raise InputError(
            "the line has no responses",
            hint="Give 'responses' (a list of texts), or 'chosen' and 'rejected'.",
        )
    if missing:
        other = "chosen" if missing == ["rejected"] else "rejected"
        raise InputError(f"the line has {other!r} but no {missing[0]!r}")
    return {name: record[name] for name in ("chosen", "rejected")}


def _parse_response(raw: Any, name: str) -> tuple[str, list[Any] | None]:
    """A text, or (TRL's conversational form) a list of turns whose last one is the assistant's text."""
    if isinstance(raw, str):
        return raw, None
    if isinstance(raw, list) and raw and isinstance(raw[-1], dict) and raw[-1].get("role") == "assistant":
        return parse_text(raw[-1].get("content"), name), raw[:-1] or None
    raise InputError(f"{name!r} must be a text, found {kind_of(raw)}")


def _parse_rankings(record: Mapping[str, Any], n: int) -> tuple[float, ...] | None:
    """(n,) 1 = best; a pair's are (1, 2), and those of ratings follow from them."""
    key, raw = one_of(record, RANKINGS_KEYS)
    is_pair = record.get("chosen") is not None
    if key is None:
        return (1.0, 2.0) if is_pair else None
    if is_pair:
        raise InputError(f"the line has both {key!r} and 'chosen'/'rejected'; keep one of the two")
    if not isinstance(raw, list) or not all(is_number(value) for value in raw):
        raise InputError(f"{key!r} must be a list of numbers, {RANKINGS_KEYS[key]}")
    if len(raw) != n:
        raise InputError(f"{key!r} has {len(raw)} entries for {n} response{'s' * (n != 1)}")
    if key == "ratings":
        return rank_ratings(raw)
    for value in raw:
        if not 1 <= value <= n:  # 1.5 is one: tied ranks, or several people's, are averaged in practice
            raise InputError(
                f"'rankings' holds {kind_of(value)}; ranks of {n} responses go from 1 (the best) to {n}",
                hint="Scores, where higher is better, belong in 'ratings'; ranks that count from 0 need 1 added.",
            )
    return tuple(float(rank) for rank in raw)


def rank_ratings(ratings: Sequence[float]) -> tuple[float, ...]:
    """1 + the number of strictly higher ratings, so equal ones share a rank."""
    ascending = sorted(ratings)
    return tuple(1.0 + len(ratings) - bisect_right(ascending, rating) for rating in ratings)
