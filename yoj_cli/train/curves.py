"""The course of a training run as one picture, drawn from its metrics.jsonl."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, TypeAlias

from yoj_cli.errors import InputError, UsageError
from yoj_cli.train.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line: TypeAlias = Mapping[str, float]
Middle: TypeAlias = Callable[[Sequence[float]], float]

# Okabe and Ito's colours, told apart by colour-blind readers too.
TRAIN, HELD_OUT, PAIRS, CHANCE = "#0072B2", "#D55E00", "#009E73", "#555555"
CURVES = "curves.png"
GRID = "#DDDDDD"
FORMATS = (".png", ".svg")
MAX_PLACES = 600
MARKER_PT = 6.0
"""Width of a marker when the points are few; with many, they would touch."""


def draw_curves(metrics: Path, picture: Path, *, title: str) -> None:
    """Draw loss, accuracy, sensitivity to the order, learning rate and gradient over the steps.

    Args:
        metrics: JSON Lines as training writes them, one kind of line per training step and one per
            evaluation on held-out groups. A last line that was cut off is left out.
        picture: a .png or .svg file, replaced as a whole.
        title: stands above the panels.
    Raises:
        InputError: the metrics cannot be read, or hold nothing to draw.
        UsageError: the picture's name ends in something else.
    """
    if picture.suffix.lower() not in FORMATS:
        raise UsageError(f"curves are drawn as {' or '.join(FORMATS)}", where=str(picture))
    lines = read_metrics(metrics)
    steps = _last_of_each_step(line for line in lines if not _is_evaluation(line))
    evaluations = _last_of_each_step(line for line in lines if _is_evaluation(line))
    panels = [panel for panel in PANELS if any(key in line for key in panel[1] for line in lines)]
    if not panels:
        raise InputError("there is nothing to draw", where=str(metrics))
    from matplotlib.figure import Figure  # and not pyplot, which keeps every figure and picks a window system

    n_columns = len(panels) if len(panels) < 4 else 2
    n_rows = math.ceil(len(panels) / n_columns)
    width_in, height_in = {1: 6.4, 2: 11.2, 3: 13.8}[n_columns], 3.7 * n_rows + 0.3
    figure = Figure(figsize=(width_in, height_in), dpi=144, layout="constrained")
    figure.suptitle(_fit(title, width_in), fontsize=13, fontweight="bold")
    for place, (draw, _) in enumerate(panels, start=1):
        axes = figure.add_subplot(n_rows, n_columns, place)
        draw(axes, steps, evaluations)
        _dress(axes, min(line["step"] for line in lines), max(line["step"] for line in lines))
    figure.draw_without_rendering()  # the sizes of the panels decide their ticks, whose widths decide the sizes
    partial = picture.with_name(f".{picture.name}.tmp")
    figure.savefig(partial, format=picture.suffix[1:].lower(), facecolor="white")
    os.replace(partial, picture)


def _is_evaluation(line: Line) -> bool:
    return any(key.startswith("eval_") for key in line)


def _last_of_each_step(lines: Iterable[Line]) -> list[Line]:
    """In the order of the steps; a run that was resumed has written some of them twice."""
    by_step = {line["step"]: line for line in lines}
    return [by_step[step] for step in sorted(by_step)]


def _draw_loss(axes: Axes, steps: Sequence[Line], evaluations: Sequence[Line]) -> None:
    _plot_steps(axes, steps, "loss", "training", median)
    _plot_evaluations(axes, evaluations, "eval_loss", HELD_OUT, "o", "held out")
    axes.set(title="Loss", ylabel="nats")
    _place_legend(axes, n_columns=2)


def _draw_accuracy(axes: Axes, steps: Sequence[Line], evaluations: Sequence[Line]) -> None:
    # A mean, because with few groups to a step a median of shares jumps between a few values.
    _plot_steps(axes, steps, "best_of_n", "best of N, training", fmean)
    _plot_evaluations(axes, evaluations, "eval_best_of_n", HELD_OUT, "o", "best of N, held out")
    _plot_evaluations(axes, evaluations, "eval_pairs", PAIRS, "s", "pairs, held out")
    chance = [line["eval_chance"] for line in evaluations if "eval_chance" in line]
    if chance:
        axes.axhline(chance[-1], color=CHANCE, linestyle="--", linewidth=1.2, label="best of N by chance")
    axes.set(title="Accuracy", ylabel="share right", ylim=(-0.03, 1.03))
    _place_legend(axes, n_columns=2)


def _draw_order(axes: Axes, steps: Sequence[Line], evaluations: Sequence[Line]) -> None:
    _plot_evaluations(
        axes, evaluations, "eval_flipped", HELD_OUT, "o", "winner changes when reversed (share)"
    )
    _plot_evaluations(axes, evaluations, "eval_tau", PAIRS, "s", "agreement with the ranking (Kendall's tau)")
    low = min([line.get("eval_tau", 0.0) for line in evaluations], default=0.0)
    axes.set(title="Order and rank, held out", ylabel="share, tau", ylim=(min(-0.03, 1.1 * low), 1.03))
    _place_legend(axes, n_columns=1)


def _draw_optimizer(axes: Axes, steps: Sequence[Line], evaluations: Sequence[Line]) -> None:
    axes.set(title="Optimizer", ylabel="learning rate")
    _plot_line(axes, *_points(steps, "learning_rate"), color=TRAIN)
    axes.yaxis.label.set_color(TRAIN)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.set_ylim(bottom=0)
    x, y = _points(steps, "grad_norm")
    if x:
        other = axes.twinx()
        other.spines[["top", "left"]].set_visible(False)
        if _window(y) > 1:
            other.plot(x, y, color=HELD_OUT, linewidth=0.7, alpha=0.3)
        _plot_line(other, *smooth(x, y, median), color=HELD_OUT)
        top = _ceiling(y)
        how = "(peaks cut off)" if max(y) > top else "before clipping"
        other.set_ylabel(f"gradient norm {how}", color=HELD_OUT)
        other.set_ylim(0, top)


PANELS: tuple[tuple[Callable[[Axes, Sequence[Line], Sequence[Line]], None], tuple[str, ...]], ...] = (
    (_draw_loss, ("loss", "eval_loss")),
    (_draw_accuracy, ("best_of_n", "eval_best_of_n", "eval_pairs")),
    (_draw_order, ("eval_flipped", "eval_tau")),
    (_draw_optimizer, ("learning_rate", "grad_norm")),
)
"""Each panel, and the keys of which one must be there for it to be drawn."""


def _dress(axes: Axes, first_step: float, last_step: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("optimizer step")
    # The same steps in every panel, so that they can be read one below the other.
    room = max(0.5, 0.03 * (last_step - first_step))
    axes.set_xlim(first_step - room, last_step + room)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _place_legend(axes: Axes, *, n_columns: int) -> None:
    """Below the panel: inside there is no place where a curve cannot pass."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=n_columns, fontsize=9, frameon=False)


def _plot_steps(axes: Axes, steps: Sequence[Line], key: str, label: str, middle: Middle) -> None:
    """Every step thin and light, and the running middle on top."""
    x, y = _points(steps, key)
    if not x:
        return
    if _window(y) > 1:
        axes.plot(x, y, color=TRAIN, linewidth=0.7, alpha=0.3)
        label = f"{label} (running {'median' if middle is median else 'mean'})"
    _plot_line(axes, *smooth(x, y, middle), color=TRAIN, label=label)


def _plot_line(axes: Axes, x: Sequence[float], y: Sequence[float], *, color: str, label: str = "") -> None:
    """One point alone would be an invisible line, hence the markers."""
    marker = "o" if len(x) < 10 else None
    axes.plot(x, y, color=color, linewidth=1.8, marker=marker, markersize=4, label=label or None)


def _plot_evaluations(
    axes: Axes, evaluations: Sequence[Line], key: str, color: str, marker: str, label: str
) -> None:
    x, y = _points(evaluations, key)
    if x:
        size = MARKER_PT * math.sqrt(min(1.0, 30 / len(x)))
        axes.plot(x, y, color=color, marker=marker, markersize=size, linewidth=1.4, label=label)


def _points(lines: Sequence[Line], key: str) -> tuple[list[float], list[float]]:
    found = [(line["step"], line[key]) for line in lines if key in line]
    return [step for step, _ in found], [value for _, value in found]


def _window(values: Sequence[float]) -> int:
    """Values in the running middle: a twentieth of the run and at least 5, or one where they are few."""
    return 1 if len(values) < 15 else 2 * max(2, len(values) // 40) + 1


def smooth(x: Sequence[float], y: Sequence[float], middle: Middle) -> tuple[list[float], list[float]]:
    """The running middle of y over a centred window, at no more places than the picture can show.

    Args:
        x, y: as many of each, and at least one.
        middle: a median or a mean.
    """
    half, last = _window(y) // 2, len(y) - 1
    places = [*range(0, last, math.ceil(len(y) / MAX_PLACES)), last]
    return [x[at] for at in places], [middle(y[max(0, at - half) : at + half + 1]) for at in places]


def _ceiling(values: Sequence[float]) -> float:
    """A top for the axis that a few extreme values do not set."""
    ordered = sorted(values)
    return 1.15 * min(ordered[-1], 3 * ordered[int(0.95 * (len(ordered) - 1))]) or 1.0


def _fit(title: str, width_in: float) -> str:
    """The title in lines that fit the picture; dollar signs would start mathematics."""
    return textwrap.fill(title, int(8 * width_in)).replace("$", r"\$")
