"""Short lists to start from: the groups at either end of the file, and those that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from yoj_cli.evaluate.judged import Judged
from yoj_cli.report.entries import Entry, margin, regret

N_LISTED = 10


def link_to(key: str, **more: str) -> str:
    """The address of a group in the page."""
    return "#" + urlencode({"v": "groups", **more, "g": key})


def build_lists(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The ends of the file that are worth a look; each links to the whole list in that order."""

    def most(of: Callable[[Judged], float | None]) -> list[tuple[float, Entry]]:
        values = [
            (max(found), entry)
            for entry in entries
            if (found := [value for each in entry.judged if each and (value := of(each)) is not None])
        ]
        return sorted((each for each in values if each[0] > 0), key=lambda each: -each[0])[:N_LISTED]

    lists = [
        (
            "Most certain mistakes",
            "how far P(best) of the winner is above the given best's",
            "regret",
            most(regret),
            _points,
        ),
        (
            "Least sure",
            "how far P(best) of the first is above the second's",
            "unsure",
            most(_doubt),
            lambda v: _points(1 - v),
        ),
        ("Largest groups", "characters of prompt and responses", "long", most(_size), lambda v: f"{v:,.0f}"),
        ("Slowest groups", "seconds", "slow", most(lambda each: each.seconds), lambda v: f"{v:.2f} s"),
    ]
    return [
        {
            "title": title,
            "note": note,
            "all": "#" + urlencode({"v": "groups", "s": sort}),
            "rows": [(show(value), entry, link_to(entry.key, s=sort)) for value, entry in rows],
        }
        for title, note, sort, rows, show in lists
        if rows
    ]


def _doubt(each: Judged) -> float | None:
    found = margin(each)
    return None if found is None else 1 - found


def _size(each: Judged) -> float:
    return sum(each.lengths) + (len(each.group.prompt) if each.group else 0)


def _points(value: float) -> str:
    return f"{value * 100:.1f}"


def list_failures(entries: Sequence[Entry], judges: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups that failed, with the words of the error."""
    return [
        {
            "key": entry.key,
            "href": link_to(entry.key, f="failed"),
            "file": judges[number]["file"],
            "type": each.error["type"],
            "message": each.error["message"],
        }
        for entry in entries
        for number, each in enumerate(entry.judged)
        if each is not None and each.error
    ]
