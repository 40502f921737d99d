"""What `yoj eval` prints: one set's figures, scorer beside scorer, with baselines and published rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from yoj_cli.evaluate.benchmark import Published
from yoj_cli.evaluate.calibration import N_BINS
from yoj_cli.evaluate.evaluation import MAX_CATEGORIES, Evaluation
from yoj_cli.evaluate.metrics import Unit
from yoj_cli.evaluate.positions import PositionTable
from yoj_cli.evaluate.statistics import Figure
from yoj_cli.render.blocks import Block, Heading, Lines, Table
from yoj_cli.render.wording import counted

NONE = "-"
MAX_POSITION_TABLES = 3
COVERAGES = (0.9, 0.7, 0.5)
PLACES = (
    "To elsewhere: right here minus right in all other places; * is more than chance does, at the 5 % level. "
    "Least to show: the smallest such difference that so many groups show with 80 % power. "
    "Winners: share of all winners that were read here."
)


def describe(evaluations: Sequence[Evaluation]) -> list[Block]:
    """One set, evaluated for one scorer or several."""
    first = evaluations[0]
    blocks: list[Block] = [
        Heading(f"{first.name}: {first.title}" if first.title != first.name else first.name)
    ]
    blocks.append(Lines(tuple(_facts(first)) + ((first.note,) if first.note else ())))
    blocks.append(_summary(evaluations))
    if first.categories:
        blocks.append(_categories(evaluations))
    elif first.n_categories > MAX_CATEGORIES:
        blocks.append(Lines((f"{first.n_categories} categories: too many for a table",)))
    for each in evaluations:
        blocks += _details(each)
    return blocks


def value_text(value: float | None, unit: Unit = "share", *, signed: bool = False) -> str:
    """62.1 % for a share, 0.640 for everything else."""
    if value is None or math.isnan(value):
        return NONE
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f} %" if unit == "share" else f"{value:{sign}.3f}"


def interval_text(low: float | None, high: float | None, unit: Unit = "share") -> str:
    if low is None or high is None:
        return NONE
    return f"{value_text(low, unit).removesuffix(' %')} to {value_text(high, unit)}"


def n_of(figure: Figure) -> str:
    """1 pair, 1,250 pairs."""
    return counted(figure.n, figure.counted.removesuffix("s"))


def _facts(each: Evaluation) -> list[str]:
    facts = [counted(each.n_groups, "group")]
    if each.n_failed:
        facts.append(f"{each.n_failed:,} FAILED and are in no figure")
    if each.n_unranked:
        facts.append(f"{each.n_unranked:,} without a ranking that tells responses apart, in no figure")
    if each.n_clusters < each.n_gold:
        facts.append(f"{counted(each.n_clusters, 'prompt')}, resampled as wholes")
    if each.n_clusters < 2:
        facts.append("no intervals: there is one prompt only")
    return [" · ".join(facts)]


def _summary(evaluations: Sequence[Evaluation]) -> Table:
    first = evaluations[0]
    names = [figure.name for figure in first.headline]
    rows = [(each.scorer, *(_with_interval(figure) for figure in each.headline)) for each in evaluations]
    rows += [(f"  {name}", *(_plain(figure) for figure in found)) for name, found in first.baselines]
    rows += [_published(row, names) for row in first.published]
    if first.headline and any(figure.n_ties for each in evaluations for figure in each.headline):
        rows += [
            (f"  ties, {each.scorer}", *(f"{figure.n_ties:,}: {figure.ties}" for figure in each.headline))
            for each in evaluations
        ]
    rows.append(("  counted", *(n_of(figure) for figure in first.headline)))
    return Table("95 % intervals in brackets", tuple(names), tuple(rows))


def _published(row: Published, names: Sequence[str]) -> tuple[str, ...]:
    at = names.index(row.metric_name) if row.metric_name in names else 0
    label = f" ({row.metric_name})" if row.metric_name and row.metric_name not in names else ""
    cells = [NONE] * len(names)
    cells[at] = f"{100 * row.value:.1f} %{label}"
    return (f"  published: {row.model} ({row.by})", *cells)


def _categories(evaluations: Sequence[Evaluation]) -> Table:
    by_name = [dict(each.categories) for each in evaluations]
    rows = tuple(
        (
            name,
            n_of(figure),
            *(_with_interval(found[name]) if name in found else NONE for found in by_name),
        )
        for name, figure in evaluations[0].categories
    )
    return Table(
        f"by category: {evaluations[0].headline[0].name}", ("", *(each.scorer for each in evaluations)), rows
    )


def _details(each: Evaluation) -> list[Block]:
    blocks: list[Block] = [Heading(f"{each.scorer}: read {each.reading}", 3)]
    calibration, risk = each.calibration, each.risk
    rows = [_row(figure) for figure in each.figures]
    if each.n_gold:
        rows += [
            ("best of N of a blind pick", value_text(each.chance), NONE, f"{each.n_gold:,} groups"),
            _row(calibration.ece, f"{N_BINS} bins"),
            _row(calibration.brier, f"uniform {calibration.uniform_brier:.3f}"),
            _row(calibration.nll, f"uniform {calibration.uniform_nll:.3f}"),
            _row(risk.aurc, f"{risk.risk:.3f} for a P(best) that says nothing"),
        ]
        rows += [
            (f"  wrong of the surest {100 * coverage:.0f} %", value_text(risk.risk_at(coverage)), NONE, "")
            for coverage in COVERAGES
        ]
    flips = each.flips
    if flips is not None:
        how = "in reverse" if flips.n_orders == 2 else f"in {flips.n_orders} orders"
        interval = interval_text(flips.low, flips.high)
        rows.append((f"winner flips {how}", value_text(flips.share), interval, f"{flips.n:,} groups"))
    blocks.append(Table("besides", ("value", "95 % interval", ""), tuple(rows)))
    for table in each.positions[:MAX_POSITION_TABLES]:
        blocks.append(_positions(table))
    if each.positions:
        blocks.append(Lines((PLACES,)))
    if len(each.positions) > MAX_POSITION_TABLES:
        left = len(each.positions) - MAX_POSITION_TABLES
        blocks.append(Lines((f"{counted(left, 'more size')} of groups: their places are in --json",)))
    return blocks


def _row(figure: Figure, note: str = "") -> tuple[str, ...]:
    interval = interval_text(figure.low, figure.high, figure.unit)
    facts = [n_of(figure)]
    if figure.n_ties:
        facts.append(f"{figure.n_ties:,} ties ({figure.ties})")
    if note:
        facts.append(note)
    return (figure.name, value_text(figure.value, figure.unit), interval, "; ".join(facts))


def _positions(table: PositionTable) -> Table:
    rows = tuple(
        (
            f"place {place.place}",
            f"{place.n:,}",
            value_text(place.accuracy),
            interval_text(place.low, place.high) if place.n else NONE,
            f"{value_text(place.difference, signed=True)}{' *' if place.is_shown else ''}",
            ">100 %" if place.smallest > 1 else value_text(place.smallest),
            value_text(place.share_won),
        )
        for place in table.places
    )
    title = f"N = {table.n_responses}, best one read in"
    columns = ("groups", "right", "95 % interval", "to elsewhere", "least to show", "winners")
    return Table(title, columns, rows)


def _with_interval(figure: Figure) -> str:
    interval = interval_text(figure.low, figure.high, figure.unit)
    value = value_text(figure.value, figure.unit)
    return value if interval == NONE else f"{value} ({interval.removesuffix(' %')})"


def _plain(figure: Figure) -> str:
    return value_text(figure.value, figure.unit)
