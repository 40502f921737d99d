"""A line of an answer back into what the judge said of a group here: a verdict, or the error of its kind."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NoReturn

from yoj_cli import errors
from yoj_cli.client.request import SENT_NAME, name_of, sent_media
from yoj_cli.errors import ServerError, UnexpectedError, UsageError, YojError
from yoj_cli.groups import Failure, Group
from yoj_cli.verdicts.verdict import Verdict

HINT_OTHER = "See that the address is that of `yoj serve`, and that its version is that of this one."

SERVERS_PLACE = re.compile(r"(?:body|request|record|line|stdin)\b[ :]?\d*: ")
"""What the server calls the place of a group in what it was sent."""


def parse_answer(line: bytes, group: Group, number: int, judge: Mapping[str, Any]) -> Verdict | Failure:
    """What the server says of one group.

    Args:
        line: one JSON record, as `yoj score` writes them.
        group: what was asked about; as `request_line` sent it under this number.
        judge: the description that the run began with.
    Raises:
        ServerError: the line is no answer to that, or another judge gave it.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ServerError(
            f"answered a line that is not JSON: {_shown(line)}", where=group.where, hint=HINT_OTHER
        ) from error
    if not isinstance(record, dict) or record.get("id") != number:
        _refuse("a record of another group", line, group)
    if "error" in record:
        return Failure(group.where, group.record, _parse_error(record["error"], line, group))
    try:
        found = _build_verdict(record, group)
    except (KeyError, TypeError, ValueError, OverflowError):
        _refuse("what is no verdict on this group", line, group)
    check_same(judge, record["judge"], where=group.where)
    return found


def check_same(judge: Mapping[str, Any], other: Mapping[str, Any], *, where: str = "") -> None:
    """See that a judge is still the one that a run began with.

    The orders are those of each group (N responses have N! at most), and a server may have several devices.

    Raises:
        ServerError: naming what differs.
    """
    keys = [key for key in dict.fromkeys((*judge, *other)) if key not in ("orders", "device")]
    changed = [
        f"{key} was {judge.get(key)!r}, now {other.get(key)!r}"
        for key in keys
        if judge.get(key) != other.get(key)
    ]
    if changed:
        raise ServerError(
            f"the server has another judge than when this run began: {'; '.join(changed[:3])}",
            where=where,
            hint="Start it as it was, and repeat the command; --resume goes on with a file of results.",
        )


def _build_verdict(record: Mapping[str, Any], group: Group) -> Verdict:
    n = len(group.responses)
    spread, agreement = record.get("spread"), record.get("order_agreement")
    ranks = tuple(int(rank) for rank in _numbers(record["ranks"], n))
    if min(ranks) != 1 or max(ranks) > n:
        raise ValueError("ranks")
    return Verdict(
        group=group,
        scores=_float32(record["scores"], n),
        ranks=ranks,
        p_best=tuple(_numbers(record["p_best"], n)),
        spread=None if spread is None else _float32(spread, n),
        order_agreement=None if agreement is None else float(agreement),
        n_orders=int(record["judge"]["orders"]),
        n_tokens=0,  # known to the server alone, as is the time
        seconds=0.0,
        temperature=float((record["judge"].get("calibration") or {}).get("temperature") or 1.0),
    )


def _numbers(raw: Any, n: int) -> Sequence[float]:
    if not isinstance(raw, list) or len(raw) != n:
        raise ValueError(f"not {n} numbers")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in raw):
        raise ValueError("no number")
    return raw


def _float32(raw: Any, n: int) -> tuple[float, ...]:
    """The float32 numbers whose shortest form was sent."""
    return tuple(struct.unpack("<f", struct.pack("<f", value))[0] for value in _numbers(raw, n))


def _parse_error(raw: Any, line: bytes, group: Group) -> YojError:
    """The error of the kind that was named, with the places in it as they are called here."""
    if not (
        isinstance(raw, Mapping) and isinstance(raw.get("type"), str) and isinstance(raw.get("message"), str)
    ):
        _refuse("an error without type and message", line, group)
    what, _, hint = SERVERS_PLACE.sub("", raw["message"], count=1).partition("\n")
    kind = getattr(errors, raw["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, YojError)) or kind in (
        YojError,
        UsageError,
        UnexpectedError,
    ):
        kind, hint = ServerError, f"The server calls it {raw['type'][:60]}; its log may say more."
    place = ""
    if first := SENT_NAME.match(what):
        place, what = _name_here(first, group), what[first.end() :].removeprefix(": ")
    what = SENT_NAME.sub(lambda sent: _name_here(sent, group), what)
    return kind(what, where=place, hint=hint).at(group.where)


def _name_here(sent: re.Match[str], group: Group) -> str:
    """What a medium is called here that was sent under a number."""
    media = next(islice(sent_media(group), int(sent[1]), None), None)
    return "what was sent" if media is None else name_of(media)


def _refuse(what: str, line: bytes, group: Group) -> NoReturn:
    raise ServerError(f"the server answered {what}: {_shown(line)}", where=group.where, hint=HINT_OTHER)


def _shown(line: bytes) -> str:
    text = line[:120].decode("utf-8", "replace")
    return repr(text + ("…" if len(line) > 120 else ""))
