"""The tables of `yoj bench-speed`: time, work and memory; 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yoj_cli.bench.report import PUBLISHED
from yoj_cli.render.wording import counted, one_line
from yoj_cli.scoring.forward import MAX_TOKENS_PER_FORWARD

if TYPE_CHECKING:
    from yoj_cli.bench.report import Comparison, Row, SpeedReport

WIDTH = 80
NAME_WIDTH = 27
TIME = ("median ms", "IQR ms", "groups/s", "resp./s", "speed-up")
WORK = ("tokens", "GFLOP", "pred.", "GFLOP/s", "of peak", "MB peak")
NONE = "-"


def render_report(report: SpeedReport) -> str:
    """A title, a pair of tables for each N, a summary where there are several, and notes."""
    facts = report.facts
    lines = [
        f"bench-speed: {one_line(report.title)}",
        f"{facts['groups']}; {counted(facts['repeats'], 'turn')} after {1 + facts['warmup']}; "
        f"matmul peak {report.matmul_flop_per_s / 1e9:,.0f} GFLOP/s",
    ]
    for found in report.comparisons:
        lines += ["", *_render(report, found)]
    if len(report.comparisons) > 1:
        lines += ["", *_summary(report)]
    notes = [textwrap.fill(note, WIDTH) for note in _notes(report)]
    return "\n".join([*lines, "", *notes]) + "\n"


def _render(report: SpeedReport, found: Comparison) -> list[str]:
    groups = counted(found.n_groups, "group")
    prefix = f"prefix {_range(found.prefix_tokens)}, " if found.prefix_tokens else ""
    title = (
        f"N = {found.n}: {groups}; tokens: {prefix}{_media(found)}, responses {_range(found.response_tokens)}"
    )
    time = _table("time", TIME, [(row, _time_cells(found, row)) for row in found.rows])
    work = _table("work", WORK, [(row, _work_cells(report, found, row)) for row in found.rows])
    return [textwrap.fill(title, WIDTH), *time, *work, *_remarks(found)]


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[Row, Sequence[str]]]) -> list[str]:
    """Right-aligned columns; a way that did not fit has a word in place of its cells."""
    widths = [
        max(len(cell) for cell in column) for column in zip(columns, *(c for _, c in rows), strict=True)
    ]

    def line(name: str, cells: Sequence[str]) -> str:
        joined = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        return f"  {name:<{NAME_WIDTH + 3}}{joined}".rstrip()

    return [line(title, columns), *(line(f"{row.key}  {row.name}", cells) for row, cells in rows)]


def _time_cells(found: Comparison, row: Row) -> list[str]:
    seconds = row.median_s
    if seconds is None:
        return [row.timing.error or NONE, *[NONE] * (len(TIME) - 1)]
    low, high = row.timing.quartiles_s
    groups_per_s, speedup = found.n_groups / seconds, found.speedup(row)
    return [
        f"{1e3 * seconds:,.1f}",
        f"{1e3 * (high - low):,.1f}",
        f"{groups_per_s:,.2f}",
        f"{found.n * groups_per_s:,.1f}",
        NONE if speedup is None else f"{speedup:.2f}x",
    ]


def _work_cells(report: SpeedReport, found: Comparison, row: Row) -> list[str]:
    cells = [f"{row.tokens:,}", _short(row.flop / 1e9), f"{found.predicted(row):.2f}x"]
    if row.median_s is None:
        cells += [NONE, NONE]
    else:
        flop_per_s = row.flop / row.median_s
        cells += [_short(flop_per_s / 1e9), f"{flop_per_s / report.matmul_flop_per_s:.0%}"]
    return [*cells, NONE if row.peak_memory_bytes is None else _short(row.peak_memory_bytes / 1e6)]


def _remarks(found: Comparison) -> list[str]:
    """What the numbers do not say: first calls, the other way to do (c), the limit, agreement."""
    firsts = " ".join(f"{r.key}={1e3 * r.timing.first_s:,.0f}" for r in found.rows if not r.timing.error)
    lines = [f"first calls in ms, not counted: {firsts}"]
    other = found.slower
    if other is not None and found.n > 1:
        took = other.timing.error or f"{1e3 * (other.median_s or 0):,.1f} ms"
        lines.append(f"(c) is the faster of two; {other.name}: {took}")
    lines.append(f"(f) reads {counted(found.n_orders, 'order')} of the responses")
    if found.row("f").tokens > found.n_groups * MAX_TOKENS_PER_FORWARD:
        lines.append(
            f"(d) and (f) are read {MAX_TOKENS_PER_FORWARD:,} tokens at a time, over the cached prefix"
        )
    multi = found.row("e")
    speedup = found.speedup(multi)
    if speedup is not None:
        share = speedup / found.token_ratio
        lines.append(
            f"tokens of (a) / tokens of (e): {found.token_ratio:.2f}; (e) reaches {share:.0%} of that limit"
        )
    gaps = [row.difference for row in found.rows if row.difference is not None]
    if other is not None and other.difference is not None:
        gaps.append(other.difference)
    if found.disagreements:
        lines.append(
            f"SCORES DISAGREE: up to {max(gaps):.2g} apart, {found.tolerance:.2g} allowed: "
            + ", ".join(f"{row.key} {row.difference:.2g}" for row in found.disagreements)
        )
    elif gaps:
        lines.append(
            f"scores of a, b, c, d and of e, g agree: {max(gaps):.1g} apart, {found.tolerance:.2g} allowed"
        )
    return [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in lines]


def _summary(report: SpeedReport) -> list[str]:
    """Speed-ups against (a), a line for each N."""
    keys = [row.key for row in report.comparisons[0].rows if row.key != "a"]
    lines = ["speed-up by N", "  " + "".join(f"{title:>8}" for title in ("N", *keys, "limit"))]
    for found in report.comparisons:
        speedups = [found.speedup(found.row(key)) for key in keys]
        cells = [str(found.n), *(NONE if each is None else f"{each:.2f}x" for each in speedups)]
        lines.append("  " + "".join(f"{cell:>8}" for cell in (*cells, f"{found.token_ratio:.2f}x")))
    return lines


def _notes(report: SpeedReport) -> list[str]:
    lines = [
        "speed-up: against (a). pred.: what the operations alone would give. of peak: of the matmul peak.",
        _published(report),
        f"MB peak: {report.memory_method or 'cannot be measured on this system'}.",
    ]
    if report.random_weights:
        lines.append(
            f"RANDOM WEIGHTS ({report.random_weights}): times and memory mean something, scores do not."
        )
    return lines


def _media(found: Comparison) -> str:
    clip = f"clip {_range(found.clip_tokens)}" if any(found.clip_tokens) else ""
    if clip and not any(found.picture_tokens):
        return clip
    picture = f"picture {_range(found.picture_tokens)}"
    return f"{picture}, {clip}" if clip else picture


def _published(report: SpeedReport) -> str:
    """The paper's figures, marked as such, beside those that were measured."""
    n = PUBLISHED["n"]
    paper = (
        f"published ({PUBLISHED['source']}; {PUBLISHED['device_name']}, N = {n}), not measured here: (e) is up to "
        f"{PUBLISHED['latency_speedup']}x as fast as (a), with {PUBLISHED['flops_speedup']}x fewer FLOPs"
    )
    found = report.beside_published
    if found is None:
        return f"{paper}. Measure N = {n} (--n {n}) to set it beside them."
    multi = found.row("e")
    speedup = found.speedup(multi)
    time = "no time" if speedup is None else f"{speedup:.2f}x"
    return f"{paper}. Measured here at N = {n}: {time}, and {found.predicted(multi):.2f}x fewer FLOPs."


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
