"""The public preference sets that `yoj data` converts."""

from __future__ import annotations

from typing import Any

from yoj_cli.records.sets import SETS
from yoj_cli.render.blocks import Block, Lines, Table


def list_sets() -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "title": each.title,
            "responses": each.n_responses,
            "licence": each.licence,
            "hub_id": each.hub_id,
            "revision": each.revision or None,
            "columns_verified": each.is_verified,
            "columns_basis": each.basis,
        }
        for each in SETS
    ]


def describe_sets(found: list[dict[str, Any]]) -> list[Block]:
    rows = tuple(
        (
            each["name"],
            str(each["responses"]),
            each["licence"],
            "yes" if each["columns_verified"] else "no",
            each["hub_id"],
        )
        for each in found
    )
    note = "Where columns were not verified, the likely ones are looked for, and an error names those that are there."
    return [Table("set", ("N", "licence", "verified", "on the Hub"), rows), Lines((note,))]
