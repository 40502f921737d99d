"""Pictures of an evaluation: reliability, accuracy by position, risk against coverage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from yoj_cli.errors import UsageError
from yoj_cli.evaluate.evaluation import Evaluation
from yoj_cli.render.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, ORANGE, GREY, GRID = "#0072B2", "#E69F00", "#555555", "#DDDDDD"
PICTURES = ("reliability.png", "positions.png", "risk-coverage.png")


def draw(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw what there is to draw, each into a file of its own; files of an earlier run are replaced.

    Returns:
        the files; positions.png only where places are known.
    Raises:
        UsageError: the folder cannot be written.
    """
    pictures = []
    if evaluation.n_gold:
        pictures.append((PICTURES[0], _reliability(evaluation)))
        if evaluation.positions:
            pictures.append((PICTURES[1], _positions(evaluation)))
        pictures.append((PICTURES[2], _risk(evaluation)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in pictures:
            partial = folder / f".{name}.tmp"
            figure.savefig(partial, format="png", facecolor="white")
            os.replace(partial, folder / name)
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(folder)) from error
    return [folder / name for name, _ in pictures]


def _reliability(evaluation: Evaluation) -> Figure:
    found = evaluation.calibration
    figure, axes, counts = _figure(evaluation, "Does P(best) mean what it says?")
    assert counts is not None
    x = [each.confidence for each in found.bins]
    y = [each.accuracy for each in found.bins]
    below = [each.accuracy - each.accuracy_low for each in found.bins]
    above = [each.accuracy_high - each.accuracy for each in found.bins]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="calibrated")
    axes.errorbar(
        x, y, yerr=[below, above], color=BLUE, marker="o", linewidth=1.6, capsize=3, label="95 % interval"
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share right")
    axes.legend(frameon=False, loc="upper left")
    axes.text(
        0.98, 0.05, f"ECE {100 * found.ece.value:.1f} %", transform=axes.transAxes, ha="right", fontsize=11
    )
    counts.bar(
        [each.low for each in found.bins],
        [each.n for each in found.bins],
        width=[each.high - each.low for each in found.bins],
        align="edge",
        color=BLUE,
        alpha=0.4,
        edgecolor="white",
    )
    counts.set(xlabel="highest P(best)", ylabel="groups")
    return figure


def _positions(evaluation: Evaluation) -> Figure:
    table = evaluation.positions[0]
    figure, axes, _ = _figure(
        evaluation, f"Does the place of the best response matter? (N = {table.n_responses})", has_counts=False
    )
    places = [each for each in table.places if each.n]
    x, y = [each.place for each in places], [each.accuracy for each in places]
    below = [each.accuracy - each.low for each in places]
    above = [each.high - each.accuracy for each in places]
    axes.bar(x, y, width=0.62, color=BLUE, alpha=0.75, label="right where the best is read here (95 %)")
    axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor="black", capsize=4, linewidth=1.2)
    won = [each.share_won for each in table.places]
    axes.plot(
        [each.place for each in table.places], won, "D", color=ORANGE, label="share of all winners read here"
    )
    axes.axhline(
        1 / table.n_responses, color=GREY, linestyle="--", linewidth=1.2, label="1 / N: no place is preferred"
    )
    axes.set(xlabel="place in the order read", ylabel="share", ylim=(0, 1.05))
    axes.set_xticks([each.place for each in table.places])
    labels = [f"{each.place}\n{each.n:,} groups" for each in table.places]
    if table.n_responses <= 8:
        axes.set_xticks([each.place for each in table.places], labels=labels)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _risk(evaluation: Evaluation) -> Figure:
    found = evaluation.risk
    figure, axes, _ = _figure(
        evaluation, "What is gained by answering the surest groups only?", has_counts=False
    )
    x = [coverage for coverage, _, _ in found.curve]
    y = [risk for _, risk, _ in found.curve]
    axes.plot(x, y, color=BLUE, linewidth=1.8, label=f"by highest P(best): AURC {found.aurc.value:.3f}")
    axes.axhline(found.risk, color=GREY, linestyle="--", linewidth=1.2, label=f"all groups: {found.risk:.3f}")
    axes.set(xlabel="coverage: share of groups that are answered", ylabel="risk: share of them that is wrong")
    axes.set(xlim=(0, 1), ylim=(0, max([0.05, found.risk * 1.3, *y])))
    axes.legend(frameon=False, loc="upper left")
    return figure


def _figure(
    evaluation: Evaluation, title: str, *, has_counts: bool = True
) -> tuple[Figure, Axes, Axes | None]:
    """A figure with its title; with a strip for counts below where it is asked for."""
    from matplotlib.figure import Figure  # and not pyplot, which keeps every figure and picks a window system

    figure = Figure(figsize=(6.4, 5.0), dpi=144, layout="constrained")
    who = (
        f"{one_line(evaluation.scorer, 40)} on {one_line(evaluation.name, 40)}, {evaluation.n_gold:,} groups"
    )
    figure.suptitle(f"{title}\n{who}".replace("$", r"\$"), fontsize=11)
    if has_counts:
        top, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    else:
        top, counts = figure.subplots(), None
    for axes in (top, counts):
        if axes is not None:
            axes.grid(color=GRID, linewidth=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
    return figure, top, counts
