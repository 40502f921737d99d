"""The benchmarks that `yoj eval` knows, with what a person picks one by."""

from __future__ import annotations

from typing import Any

from yoj_cli.evaluate.benchmarks import BENCHMARKS
from yoj_cli.evaluate.sets import PAPER
from yoj_cli.render.blocks import Block, Lines, Table
from yoj_cli.storage.data_sets import is_data_set_cached


def list_benchmarks() -> list[dict[str, Any]]:
    """Each with its size, metric, licence, whether its data are on this machine, and what is uncertain."""
    return [
        {
            "name": each.name,
            "title": each.title,
            "rows": each.size,
            "metric": each.metric_name,
            "licence": each.licence,
            "hub_id": each.hub_id or None,
            "revision": each.revision or None,
            "cached": bool(each.hub_id) and is_data_set_cached(each.hub_id, each.revision),
            "in_paper": each.name in PAPER,
            "note": each.note,
        }
        for each in BENCHMARKS
    ]


def describe_benchmarks(found: list[dict[str, Any]]) -> list[Block]:
    rows = tuple(
        (
            each["name"] + (" *" if each["in_paper"] else ""),
            "-" if each["rows"] is None else f"{each['rows']:,}",
            each["metric"],
            each["licence"],
            "yes" if each["cached"] else "no",
        )
        for each in found
    )
    notes = [f"{each['name']}: {each['note']}" for each in found if each["note"]]
    last = "* one of the paper's six: `yoj eval paper` runs them. What is not on this machine is fetched from the Hub."
    return [
        Table("benchmark", ("rows", "metric", "licence", "on this machine"), rows),
        Lines((*notes, last)),
    ]
