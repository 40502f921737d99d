"""The paper's table: six benchmarks, and the plain mean of their figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yoj_cli.evaluate.evaluation import Evaluation
from yoj_cli.evaluate.sets import PAPER
from yoj_cli.evaluate.statistics import Figure
from yoj_cli.evaluate.tables import interval_text, value_text
from yoj_cli.render.blocks import Block, Heading, Lines, Table

AVG = "Avg"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One scorer over the six.

    Attributes:
        who: a scorer, or a published row and who printed it.
        is_published: printed by somebody, not measured here.
        figures: by benchmark; None where it was not evaluated or nobody printed it.
        average: plain mean of the six; None where one is missing.
    """

    who: str
    is_published: bool
    figures: tuple[float | None, ...]
    average: float | None


def paper_rows(evaluations: Sequence[Evaluation]) -> list[PaperRow]:
    """Measured rows first, then the published ones; figures in the order of PAPER."""
    rows = []
    for scorer in dict.fromkeys(each.scorer for each in evaluations):
        found = {each.name: each.headline[0].value for each in evaluations if each.scorer == scorer}
        rows.append(_row(scorer, False, [found.get(name) for name in PAPER]))
    published: dict[str, dict[str, float]] = {}
    for each in evaluations:
        for printed in each.published:
            if printed.metric_name in ("", each.headline[0].name):
                published.setdefault(f"{printed.model} ({printed.by})", {})[each.name] = printed.value
    rows += [_row(who, True, [found.get(name) for name in PAPER]) for who, found in published.items()]
    return rows


def describe_paper(evaluations: Sequence[Evaluation]) -> list[Block]:
    """The table, benchmarks as rows."""
    rows = paper_rows(evaluations)
    measured = {(each.scorer, each.name): each.headline[0] for each in evaluations}
    names = {each.name: each.headline[0].name for each in evaluations}
    lines = []
    for place, name in enumerate(PAPER):
        cells = [_cell(row, place, measured.get((row.who, name))) for row in rows]
        lines.append((name, names.get(name, "-"), *cells))
    lines.append((AVG, "plain mean of the six", *(value_text(row.average) for row in rows)))
    columns = ("metric", *(f"published: {row.who}" if row.is_published else row.who for row in rows))
    note = "Published figures are the authors' own, not measured here; 95 % intervals in brackets."
    missing = [name for name in PAPER if name not in names]
    notes = [note] + ([f"No Avg without {', '.join(missing)}."] if missing else [])
    return [
        Heading("The six benchmarks of arXiv 2604.10966"),
        Table("benchmark", columns, tuple(lines)),
        Lines(tuple(notes)),
    ]


def _row(who: str, is_published: bool, figures: Sequence[float | None]) -> PaperRow:
    there = [value for value in figures if value is not None and not math.isnan(value)]
    average = math.fsum(there) / len(there) if len(there) == len(PAPER) else None
    return PaperRow(who, is_published, tuple(figures), average)


def _cell(row: PaperRow, place: int, figure: Figure | None) -> str:
    value = value_text(row.figures[place])
    if row.is_published or figure is None or figure.low is None:
        return value
    return f"{value} ({interval_text(figure.low, figure.high).removesuffix(' %')})"
