"""What the page holds as data: a short index of all groups, and one document for each group and medium."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoj_cli.groups import Group, Media, scheme_of, shorten
from yoj_cli.records.parse import RESPONSES_KEYS
from yoj_cli.report.entries import LOW_MARGIN, Entry, is_shaky, margin, outcome, regret
from yoj_cli.report.pictures import Shown
from yoj_cli.report.read import Line
from yoj_cli.verdicts.record import OUTPUT_KEYS

SNIPPET_LENGTH = 140
LONG_SOURCE = 2000
"""Characters of a medium's source; a longer one is the medium itself (a data: URL), which is in the page once."""

Places = Mapping[Media, int]
"""The number of each medium in the page."""


def index_entry(entry: Entry) -> dict[str, Any]:
    """A group's row: what it is found, filtered and sorted by."""
    group, lines = entry.shown.group, entry.lines
    kinds = {medium.kind for medium in group.media} if group else set()
    texts = group.responses if group else ()
    return {
        "key": entry.key,
        "where": entry.shown.where,
        "title": _snippet(group.prompt if group else _text_of(entry.shown.record)),
        "n": len(texts),
        "length": sum(map(len, texts)) + (len(group.prompt) if group else 0),
        "picture": "image" in kinds,
        "clip": bool(kinds & {"video", "frames"}),
        "verdicts": [None if line is None else _index_verdict(line) for line in lines],
        "differs": _differs(lines),
    }


def _index_verdict(line: Line) -> dict[str, Any]:
    between = margin(line)
    return {
        "outcome": outcome(line),
        "best": list(_best_of(line)),
        "margin": between,
        "regret": regret(line),
        "unsure": between is not None and between < LOW_MARGIN,
        "shaky": is_shaky(line),
    }


def _best_of(line: Line) -> tuple[int, ...]:
    return tuple(i for i, rank in enumerate(line.ranks or ()) if rank == 1)


def _differs(lines: Sequence[Line | None]) -> bool:
    """Whether two judges do not agree on the best response, one of them having failed included."""
    return len(lines) > 1 and len({None if line is None else _best_of(line) for line in lines}) > 1


def _snippet(text: str) -> str:
    line = " ".join(text[: 8 * SNIPPET_LENGTH].split())
    return line if len(line) <= SNIPPET_LENGTH else line[: SNIPPET_LENGTH - 1].rstrip() + "…"


def _text_of(record: Mapping[str, Any]) -> str:
    """The prompt of a line that gave no group."""
    return next((str(record[key]) for key in ("prompt", "question") if isinstance(record.get(key), str)), "")


def group_document(entry: Entry, places: Places) -> dict[str, Any]:
    """Everything that is shown of one group, but its media."""
    shown = entry.shown
    group = shown.group
    return {
        "turns": [
            {
                "role": turn.role,
                "blocks": [
                    block if isinstance(block, str) else {"media": places[block]} for block in turn.blocks
                ],
            }
            for turn in (group.messages if group else ())
        ],
        "responses": list(group.responses) if group else [],
        "names": names_of(group) if group else [],
        "given": list(group.rankings) if group and group.rankings else None,
        "verdicts": [None if line is None else _verdict(line) for line in entry.lines],
        **_criteria(shown.record, len(group.responses) if group else 0),
        **_own_fields(shown.record),
    }


def _verdict(line: Line) -> dict[str, Any]:
    if line.error is not None:
        return {"where": line.where, "error": {"type": line.error[0], "message": line.error[1]}}
    low, high = _whiskers(line)
    return {
        "where": line.where,
        "scores": line.scores,
        "ranks": line.ranks,
        "p_best": line.p_best,
        "spread": line.spread,
        "low": low,
        "high": high,
        "order_agreement": line.order_agreement,
        "orders": (line.judge or {}).get("orders"),
    }


def _whiskers(line: Line) -> tuple[list[float] | None, list[float] | None]:
    """(N,) and (N,): P(best) of each response had its score alone been one spread lower, and higher."""
    if line.spread is None or line.p_best is None:
        return None, None
    low, high = [], []
    for p, spread in zip(line.p_best, line.spread, strict=True):
        factor = math.exp(min(spread, 700.0))
        low.append(p / (p + (1 - p) * factor))
        high.append(p * factor / (p * factor + (1 - p)))
    return low, high


def names_of(group: Group) -> list[str]:
    """What each response is called: the line's "labels" or "models" where they fit and differ, else its number from 1."""
    for key in ("labels", "models"):
        names = group.record.get(key)
        if isinstance(names, list) and len(names) == len(group.responses):
            texts = [str(name) for name in names]
            if len(set(texts)) == len(texts):
                return texts
    return [f"response {i}" for i in range(1, len(group.responses) + 1)]


def _criteria(record: Mapping[str, Any], n: int) -> dict[str, Any]:
    """What the responses were judged on, where the line says so: texts, or values a response."""
    texts: list[str] = []
    values: list[dict[str, Any]] = []
    raw = record.get("criteria")
    items = raw.items() if isinstance(raw, Mapping) else [("", raw)]
    for name, value in items:
        if n and isinstance(value, list) and len(value) == n:
            values.append({"name": str(name) or "criteria", "values": [_plain(each) for each in value]})
        elif value is not None:
            given = value if isinstance(value, list) else [value]
            texts += [f"{name}: {_plain(each)}" if name else _plain(each) for each in given]
    return {"criteria": texts, "criteria_values": values}


def _plain(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _own_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The input line without its responses and without the verdict: what a ranking is exported with.

    A line that holds its pictures itself is in the page without them, and so cannot be exported as a ranking.
    """
    dropped = {*OUTPUT_KEYS, *RESPONSES_KEYS, "chosen", "rejected"}
    fields = {key: value for key, value in record.items() if key not in dropped}
    kept = _without_data_urls(fields)
    return {"fields": kept, "whole": kept == fields}


def _without_data_urls(value: Any) -> Any:
    if isinstance(value, str):
        return f"{shorten(value)} (left out)" if scheme_of(value) == "data" and len(value) > LONG_SOURCE else value
    if isinstance(value, list):
        return [_without_data_urls(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _without_data_urls(each) for key, each in value.items()}
    return value


def media_document(shown: Shown) -> dict[str, Any]:
    """A medium but its larger pictures."""
    return {
        "kind": shown.kind,
        "name": shown.name,
        "small": shown.small,
        "times": list(shown.times_s),
        "duration": shown.duration_s,
        "size": shown.size_px,
        "problem": shown.problem,
        "left_out": shown.left_out,
        "enlarges": bool(shown.large),
    }
