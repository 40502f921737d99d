"""Charts of the overview as shapes; the template writes them as SVG, so that every text in them is escaped there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoj_cli.evaluate.calibration import Bin

WIDTH, HEIGHT = 560.0, 290.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 26.0, 12.0, 44.0
N_BINS = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """One SVG element.

    Attributes:
        tip: what hovering over it says.
    """

    tag: str
    attributes: Mapping[str, Any]
    text: str = ""
    tip: str = ""


@dataclass(slots=True)
class Chart:
    """A picture with axes, each from 0 to 1 of its own scale; `label` says in words what it shows."""

    label: str
    height: float = HEIGHT
    left: float = LEFT
    shapes: list[Shape] = field(default_factory=list)
    width: float = WIDTH

    def x(self, share: float) -> float:
        return self.left + share * (self.width - self.left - RIGHT)

    def y(self, share: float) -> float:
        return self.height - BOTTOM - share * (self.height - BOTTOM - TOP)

    def add(self, tag: str, kind: str, text: str = "", tip: str = "", **attributes: float | str) -> None:
        """An element of a class; numbers are rounded, `stroke_width` becomes stroke-width."""
        rounded = {
            name.replace("_", "-"): f"{value:.2f}".rstrip("0").rstrip(".")
            if isinstance(value, float)
            else value
            for name, value in attributes.items()
        }
        self.shapes.append(Shape(tag, {"class": kind, **rounded}, text, tip))

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float, tip: str = "") -> None:
        self.add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2, tip=tip)

    def text(self, kind: str, x: float, y: float, words: str, anchor: str = "middle") -> None:
        self.add("text", kind, words, x=x, y=y, text_anchor=anchor)

    def bar(self, kind: str, x: float, low: float, high: float, width: float, tip: str) -> None:
        """An upright bar between two shares of the height."""
        top, bottom = self.y(high), self.y(low)
        self.add("rect", kind, tip=tip, x=x, y=top, width=width, height=max(bottom - top, 0.0))

    def ticks_y(self, top: float, words: Mapping[float, str]) -> None:
        for value, word in words.items():
            at = self.y(value / top if top else 0.0)
            self.line("grid", self.left, at, self.width - RIGHT, at)
            self.text("tick", self.left - 7, at + 4, word, "end")

    def name_x(self, words: str) -> None:
        self.text("axis", (self.left + self.width - RIGHT) / 2, self.height - 5, words)


def margins_chart(margins: Sequence[tuple[float, str]], kinds: Sequence[str]) -> Chart:
    """How far the first is ahead of the second, in ten bins, by outcome.

    Args:
        margins: (margin, outcome) of each group.
        kinds: the outcomes, the lowest part of a bar first.
    """
    chart = Chart("Groups by how far P(best) of the first is above the second's")
    bins: list[dict[str, int]] = [dict.fromkeys(kinds, 0) for _ in range(N_BINS)]
    for margin, kind in margins:
        bins[min(int(margin * N_BINS), N_BINS - 1)][kind] += 1
    top = nice_top(max((sum(each.values()) for each in bins), default=0))
    chart.ticks_y(top, {value: f"{value:g}" for value in (0, top / 2, top) if value == int(value)})
    step = (chart.x(1) - chart.x(0)) / N_BINS
    for number, counts in enumerate(bins):
        total, base = sum(counts.values()), 0
        words = ", ".join(f"{n:,} {kind}" for kind, n in counts.items() if n)
        tip = f"margin {number * 10} to {number * 10 + 10} points: {total:,} groups ({words})"
        for kind, n in counts.items():
            if n:
                chart.bar(
                    f"fill {kind}",
                    chart.x(0) + number * step + 1.5,
                    base / top,
                    (base + n) / top,
                    step - 3,
                    tip,
                )
                base += n
    for share in (0, 0.25, 0.5, 0.75, 1):
        chart.text("tick", chart.x(share), chart.height - BOTTOM + 18, f"{share:.0%}")
    chart.name_x("margin")
    return chart


def calibration_chart(bins: Sequence[Bin]) -> Chart:
    """Share of right winners against the P(best) that they were given; on the diagonal P(best) means what it says."""
    chart = Chart("Accuracy against P(best) of the winner")
    chart.ticks_y(1, {value: f"{value:.0%}" for value in (0, 0.25, 0.5, 0.75, 1)})
    chart.line("diagonal", chart.x(0), chart.y(0), chart.x(1), chart.y(1))
    most = max((each.n for each in bins), default=1)
    for each in bins:
        at = chart.x(each.confidence)
        tip = f"P(best) {each.confidence:.1%}: {each.accuracy:.1%} right of {each.n:,} groups"
        chart.line("whisker", at, chart.y(each.accuracy_low), at, chart.y(each.accuracy_high))
        radius = 3.5 + 5 * math.sqrt(each.n / most)
        chart.add("circle", "dot", cx=at, cy=chart.y(each.accuracy), r=radius, tip=tip)
    for share in (0, 0.25, 0.5, 0.75, 1):
        chart.text("tick", chart.x(share), chart.height - BOTTOM + 18, f"{share:.0%}")
    chart.name_x("P(best) of the winner")
    return chart


def places_chart(won: Sequence[float], gold: Sequence[float] | None) -> Chart:
    """Share of groups whose winner, and whose given best, stands in each place of the file; evenly is the line."""
    chart = Chart("Places of the judge's winners in the file")
    top = min(1.0, nice_top(max([*won, *(gold or ()), 2 / len(won)])))
    chart.ticks_y(top, {value: f"{value:.0%}" for value in (0, top / 2, top)})
    step = (chart.x(1) - chart.x(0)) / len(won)
    for place, share in enumerate(won):
        tip = f"place {place + 1}: {share:.1%} of the winners"
        if gold:
            tip += f", {gold[place]:.1%} of the given best"
        start = chart.x(0) + place * step
        chart.bar("fill winner", start + step * 0.16, 0, share / top, step * 0.68, tip)
        if gold:
            at = chart.y(gold[place] / top)
            chart.line("gold", start + step * 0.08, at, start + step * 0.92, at, tip)
        if len(won) <= 16 or place % 4 == 0:
            chart.text("tick", start + step / 2, chart.height - BOTTOM + 18, str(place + 1))
    even = chart.y(1 / len(won) / top)
    chart.line("even", chart.x(0), even, chart.x(1), even, "evenly spread")
    chart.name_x("place in the file")
    return chart


def lengths_chart(rows: Sequence[tuple[str, str, Sequence[int]]]) -> Chart:
    """Lengths as boxes (quartiles, with the middle 90 %), on a logarithmic axis.

    Args:
        rows: (name, class, characters of each response).
    """
    chart = Chart("Characters of responses", left=120.0)
    lengths = sorted(max(length, 1) for _, _, row in rows for length in row)
    low = math.floor(math.log10(lengths[0]))
    high = max(math.ceil(math.log10(lengths[-1])), low + 1)

    def at(length: float) -> float:
        return chart.x((math.log10(max(length, 1)) - low) / (high - low))

    for power in range(low, high + 1):
        chart.line("grid", at(10**power), TOP, at(10**power), chart.height - BOTTOM)
        chart.text("tick", at(10**power), chart.height - BOTTOM + 18, f"{10**power:,}")
    step = (chart.height - TOP - BOTTOM) / len(rows)
    for number, (name, kind, row) in enumerate(rows):
        middle, ordered = TOP + (number + 0.5) * step, sorted(row)
        p5, q1, q2, q3, p95 = (
            ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.25, 0.5, 0.75, 0.95)
        )
        tip = f"{name}: half have {q1:,} to {q3:,} characters, the median is {q2:,}"
        chart.text("row-name", chart.left - 9, middle + 4, name, "end")
        chart.line("whisker", at(p5), middle, at(p95), middle)
        chart.add(
            "rect",
            f"fill {kind}",
            tip=tip,
            x=at(q1),
            y=middle - 11,
            width=max(at(q3) - at(q1), 2.0),
            height=22.0,
        )
        chart.line("median", at(q2), middle - 11, at(q2), middle + 11)
    chart.name_x("characters")
    return chart


NICE = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)
"""Their halves are short numbers too."""


def nice_top(value: float) -> float:
    """The smallest of NICE times a power of ten that is not below the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(round(power * step, 12) for step in NICE if power * step >= value * (1 - 1e-12))
