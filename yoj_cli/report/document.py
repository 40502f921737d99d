"""What the page holds as data: a short index of all groups, and one document for each group and medium."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from yoj_cli.evaluate.judged import Judged
from yoj_cli.groups import Group, Media, scheme_of, shorten
from yoj_cli.records.parse import RANKINGS_KEYS, RESPONSES_KEYS
from yoj_cli.report.entries import LOW_MARGIN, Entry, best_of, facts_of, is_shaky, margin, outcome, regret
from yoj_cli.report.pictures import Shown
from yoj_cli.verdicts.record import OUTPUT_KEYS
from yoj_cli.verdicts.verdict import rank
from yoj_cli.votes.parse import NAMES

SNIPPET_LENGTH = 140
LONG_SOURCE = 2000
"""Characters of a medium's source; a longer one is the medium itself (a data: URL), which is in the page once."""

Places = Mapping[Media, int]
"""The number of each medium in the page."""


def index_entry(entry: Entry) -> dict[str, Any]:
    """A group's row: what it is found, filtered and sorted by."""
    group = entry.shown.group
    kinds = {medium.kind for medium in group.media} if group else set()
    return {
        "key": entry.key,
        "title": _snippet(group.prompt if group else _text_of(entry.shown.record)),
        "n": len(entry.shown.lengths),
        "length": sum(entry.shown.lengths) + (len(group.prompt) if group else 0),
        "picture": "image" in kinds,
        "clip": bool(kinds & {"video", "frames"}),
        "category": entry.shown.category,
        "verdicts": [None if each is None else _index_verdict(each) for each in entry.judged],
        "differs": _differs(entry.judged),
    }


def _index_verdict(each: Judged) -> dict[str, Any]:
    between = margin(each)
    return {
        "outcome": outcome(each),
        "best": best_of(each),
        "margin": between,
        "regret": regret(each),
        "unsure": between is not None and between < LOW_MARGIN,
        "shaky": is_shaky(each),
        "abstained": each.record.get("abstained") is True,
        "seconds": each.seconds,
    }


def _differs(judged: Sequence[Judged | None]) -> bool:
    """Whether two judges do not agree on the best response; also where only one of them has any."""
    return len(judged) > 1 and len({None if each is None else best_of(each) for each in judged}) > 1


def _snippet(text: str) -> str:
    line = " ".join(text[: 8 * SNIPPET_LENGTH].split())
    return line if len(line) <= SNIPPET_LENGTH else line[: SNIPPET_LENGTH - 1].rstrip() + "…"


def _text_of(record: Mapping[str, Any]) -> str:
    """The prompt of a line that gave no group."""
    return next((str(record[key]) for key in ("prompt", "question") if isinstance(record.get(key), str)), "")


def group_document(entry: Entry, places: Places, judges: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Everything that is shown of one group, but its media.

    Args:
        judges: what scored each file; a group repeats it only where it was scored otherwise.
    """
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
        "vote_names": vote_names_of(group) if group else [],
        "given": list(group.rankings) if group and group.rankings else None,
        "verdicts": [
            None if each is None else _verdict(each, judge)
            for each, judge in zip(entry.judged, judges, strict=True)
        ],
        **_criteria(shown.record, len(group.responses) if group else 0),
        **_own_fields(shown.record),
    }


def _verdict(each: Judged, judge: Mapping[str, Any]) -> dict[str, Any]:
    if not each.scores:
        return {"where": each.where, "error": each.error}
    low, high = _whiskers(each)
    return {
        "where": PurePath(each.where).name,
        "scores": each.scores,
        "ranks": rank(each.scores),
        "p_best": each.p_best,
        "spread": each.spread,
        "low": low,
        "high": high,
        "order_agreement": each.order_agreement,
        "orders": each.n_orders,
        "judge": None if facts_of(each) == judge["facts"] else facts_of(each),
    }


def _whiskers(each: Judged) -> tuple[list[float] | None, list[float] | None]:
    """(N,) and (N,): P(best) of each response had its score alone been one spread lower, and higher."""
    if each.spread is None:
        return None, None
    low, high = [], []
    for p, spread in zip(each.p_best, each.spread, strict=True):
        factor = math.exp(min(spread, 700.0))
        low.append(p / (p + (1 - p) * factor))
        high.append(p * factor / (p * factor + (1 - p)))
    return low, high


def names_of(group: Group) -> list[str]:
    """What each response is called: the line's "labels" or "models" where they fit, else its number from 1."""
    return _own_names(group, ("labels", *NAMES)) or [
        f"response {i}" for i in range(1, len(group.responses) + 1)
    ]


def vote_names_of(group: Group) -> list[str]:
    """What a vote calls each response, so that it fits votes from elsewhere: "names" or "models", else "0", "1" …"""
    return _own_names(group, NAMES) or [str(i) for i in range(len(group.responses))]


def _own_names(group: Group, keys: Sequence[str]) -> list[str] | None:
    """The first of the line's lists that names every response, each by a name of its own."""
    for key in keys:
        raw = group.record.get(key)
        if isinstance(raw, list) and len(raw) == len(group.responses) == len({str(name) for name in raw}):
            return [str(name) for name in raw]
    return None


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
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _own_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The input line without its responses, ranks and verdict: what a ranking is exported with.

    As JSON text, because JavaScript would round its long numbers. A line that holds its pictures itself is in the page
    without them, and so cannot be exported as a ranking.
    """
    dropped = {*OUTPUT_KEYS, *RESPONSES_KEYS, *RANKINGS_KEYS, "chosen", "rejected"}
    fields = {key: value for key, value in record.items() if key not in dropped}
    kept = _without_data_urls(fields)
    return {"fields": json.dumps(kept, ensure_ascii=False, indent=2), "whole": kept == fields}


def _without_data_urls(value: Any) -> Any:
    if isinstance(value, str):
        return (
            f"{shorten(value)} (left out)"
            if scheme_of(value) == "data" and len(value) > LONG_SOURCE
            else value
        )
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
