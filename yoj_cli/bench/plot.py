"""Speed-up against the number of responses, as a picture."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from statistics import fmean

from yoj_cli.bench.report import SpeedReport
from yoj_cli.errors import UsageError

# Okabe and Ito's colours, told apart by colour-blind readers too; markers differ as well.
STYLES = {
    "b": ("#E69F00", "s"),
    "c": ("#56B4E9", "^"),
    "d": ("#009E73", "D"),
    "e": ("#0072B2", "o"),
    "f": ("#CC79A7", "v"),
    "g": ("#D55E00", "X"),
}
LIMIT, GRID = "#555555", "#DDDDDD"


def draw_speedup(report: SpeedReport, picture: Path) -> None:
    """Draw each way's speed-up against one pass per response, and the ratio of tokens that limits `multi`.

    Args:
        picture: a .png or .svg file, replaced as a whole.
    Raises:
        UsageError: it cannot be written.
    """
    from matplotlib.figure import Figure  # and not pyplot, which keeps every figure and picks a window system
    from matplotlib.ticker import FixedLocator, NullLocator

    figure = Figure(figsize=(7.6, 5.4), dpi=144, layout="constrained")
    figure.suptitle(_title(report), fontsize=12, fontweight="bold")
    axes = figure.add_subplot()
    sizes = sorted({each.n for each in report.comparisons})
    by_size = {each.n: each for each in report.comparisons}
    limits = [by_size[n].token_ratio for n in sizes]
    axes.plot(
        sizes, limits, color=LIMIT, linestyle="--", linewidth=1.4, label="tokens of (a) / tokens of (e)"
    )
    for key, (color, marker) in STYLES.items():
        found = [(n, by_size[n].speedup(by_size[n].row(key)), by_size[n].row(key).name) for n in sizes]
        points = [(n, speedup) for n, speedup, _ in found if speedup is not None]
        names = dict.fromkeys(name for _, _, name in found)
        label = f"({key}) {names.popitem()[0] if len(names) == 1 else 'cached prefix, the faster way'}"
        axes.plot(*_columns(points), color=color, marker=marker, markersize=5.5, linewidth=1.8, label=label)
    axes.axhline(1.0, color=LIMIT, linewidth=0.9)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, labels=[str(n) for n in sizes])
    axes.set(xlabel="responses N", ylabel="times as fast as (a), one pass per response")
    axes.set_ylim(bottom=0)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    partial = picture.with_name(f".{picture.name}.tmp")
    try:
        figure.savefig(partial, format=picture.suffix[1:].lower(), facecolor="white")
        os.replace(partial, picture)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"cannot be written ({error.strerror})", where=str(picture)) from error


def _title(report: SpeedReport) -> str:
    found = report.comparisons[-1]
    sizes = f"responses of about {round(fmean(found.response_tokens))} tokens"
    if found.prefix_tokens:
        n_clip = found.clip_tokens[0]
        media = f"{n_clip} of a clip" if n_clip else f"{found.picture_tokens[0]} of a picture"
        sizes += f" after {found.prefix_tokens[0]} ({media})"
    return "\n".join(textwrap.fill(line, 78).replace("$", r"\$") for line in (report.title, sizes))


def _columns(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [n for n, _ in points], [speedup for _, speedup in points]
