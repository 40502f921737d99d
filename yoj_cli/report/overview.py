"""What the page says of all groups together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.report.entries import Entry, outcome


def build_overview(
    entries: Sequence[Entry], judges: Sequence[Mapping[str, Any]], notes: Sequence[str]
) -> dict[str, Any]:
    """What the template of the overview shows."""
    counts = [
        {name: sum(line is not None and outcome(line) == name for line in lines) for name in OUTCOMES}
        for lines in zip(*(entry.lines for entry in entries), strict=True)
    ]
    return {"judges": judges, "counts": counts, "notes": notes, "n_groups": len(entries)}


OUTCOMES = ("right", "wrong", "tie", "unranked", "failed")
