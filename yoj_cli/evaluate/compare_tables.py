"""What `yoj eval --compare` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from yoj_cli.evaluate.compare import Comparison, Difference
from yoj_cli.evaluate.tables import NONE, interval_text, value_text
from yoj_cli.render.blocks import Block, Heading, Lines, Table
from yoj_cli.render.wording import counted

N_FLIPPED_SHOWN = 20


def describe_comparison(name: str, first: str, second: str, found: Comparison) -> list[Block]:
    """One set: which of two judges is better, and where.

    Args:
        first, second: what the two are called.
    """
    blocks: list[Block] = [Heading(f"{name}: A = {first}, B = {second}"), Lines(tuple(_facts(found)))]
    blocks.append(_differences("figure", found.differences))
    blocks.append(Lines((_verdict(found), _mcnemar(found))))
    if found.categories:
        blocks.append(_differences("by category, largest difference first", found.categories))
    if found.flipped:
        blocks.append(_flipped(found))
        n_more = len(found.flipped) - N_FLIPPED_SHOWN
        if n_more > 0:
            blocks.append(Lines((f"{counted(n_more, 'more group')} of these: --json has all",)))
    return blocks


def _facts(found: Comparison) -> list[str]:
    facts = [f"{counted(found.n_common, 'group')} that both judged"]
    for who, n in (("A", found.n_first_only), ("B", found.n_second_only)):
        if n:
            facts.append(f"{n:,} only {who} judged, in no figure")
    same = found.n_same_winner / found.n_common
    return [" · ".join(facts), f"the same winner in {value_text(same)}"]


def _differences(title: str, differences: Sequence[Difference]) -> Table:
    rows = tuple(
        (
            each.name,
            value_text(each.first, each.unit),
            value_text(each.second, each.unit),
            value_text(each.difference, each.unit, signed=True),
            interval_text(each.low, each.high, each.unit),
            NONE if each.p is None else f"{each.p:.3g}",
        )
        for each in differences
    )
    return Table(title, ("A", "B", "B - A", "95 % interval", "p"), rows)


def _verdict(found: Comparison) -> str:
    first = found.differences[0]
    if first.low is None or first.high is None:
        return f"{first.name}: too few groups to tell A and B apart."
    if first.low > 0 or first.high < 0:
        return f"{first.name}: {'B' if first.low > 0 else 'A'} is better; the interval of B - A leaves out 0."
    return f"{first.name}: no difference is shown; the interval of B - A holds 0."


def _mcnemar(found: Comparison) -> str:
    return (
        f"right in one only: {found.only_first_right:,} groups A, {found.only_second_right:,} groups B; "
        f"McNemar's exact p = {found.mcnemar_p:.3g}"
    )


def _flipped(found: Comparison) -> Table:
    rows = tuple(
        (
            each.id,
            "AB"[each.better - 1],
            str(each.first_best),
            str(each.second_best),
            f"{each.margin:.3f}",
            each.category or NONE,
            PurePath(each.where).name,
        )
        for each in found.flipped[:N_FLIPPED_SHOWN]
    )
    columns = ("right", "A's best", "B's best", "margin", "category", "where")
    return Table("groups that flip, the surest mistake first", columns, rows)
