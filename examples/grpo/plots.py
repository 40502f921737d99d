"""The curves of the runs, as one SVG; the same curves give the same file to the byte.

python examples/grpo/plots.py work
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import read_lines

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = {
    "multi": "#0072B2",
    "single": "#D55E00",
    "multi-own": "#56B4E9",
    "single-own": "#E69F00",
    "demo": "#009E73",
}
PANELS = {
    "reward": "Reward of its judge (each has a scale of its own)",
    "accuracy": "True captions, share",
    "entropy": "Entropy, nats a token",
    "kl": "KL from the policy before, nats a token",
    "length": "Length, tokens",
    "reward_std": "Spread of the reward in a step",
}
WIDTH = 11
"""Steps that a line averages over: each step has pictures of its own, easy ones or hard."""


def draw_curves(runs: dict[str, list[list[dict[str, float]]]], picture: Path) -> None:
    """Draw what the trainer logged.

    Args:
        runs: for each judge the lines of its runs, one list a seed.
        picture: the .svg file.
    """
    figure = Figure(figsize=(12, 6.6), layout="constrained")
    for place, (name, title) in enumerate(PANELS.items(), start=1):
        axes = figure.add_subplot(2, 3, place)
        for mode, seeds in runs.items():
            _draw(axes, mode, [[line[name] for line in lines] for lines in seeds])
        axes.set_title(title, fontsize=10)
        dress(axes)
        if place > 3:
            axes.set_xlabel("step")
    figure.axes[0].legend(frameon=False)
    save(figure, picture)


def _draw(axes: Axes, mode: str, seeds: Sequence[Sequence[float]]) -> None:
    smooth = [running_mean(values) for values in seeds]
    for values in smooth:
        axes.plot(range(1, len(values) + 1), values, color=COLOURS[mode], linewidth=0.7, alpha=0.45)
    n_steps = min(map(len, smooth))
    middle = np.mean([values[:n_steps] for values in smooth], axis=0)
    label = f"{mode} ({len(seeds)} seed{'s' * (len(seeds) > 1)})"
    axes.plot(range(1, n_steps + 1), middle, color=COLOURS[mode], linewidth=2, label=label)


def running_mean(values: Sequence[float]) -> np.ndarray:
    """Means over up to WIDTH steps around each; fewer at the ends."""
    kernel = np.ones(min(WIDTH, len(values)))
    totals = np.convolve(values, kernel, mode="same")
    counts = np.convolve(np.ones(len(values)), kernel, mode="same")
    return totals / counts


def dress(axes: Axes) -> None:
    """A light grid, and no frame but the axes."""
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def save(figure: Figure, picture: Path) -> None:
    """Write an SVG without a date and with the same names in it every time."""
    with matplotlib.rc_context({"svg.hashsalt": "yoj", "svg.fonttype": "path"}):
        figure.savefig(picture, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    runs: dict[str, list[list[dict[str, float]]]] = {}
    for path in sorted(work.glob("runs/*/curves.jsonl")):
        runs.setdefault(path.parent.name.rsplit("_", 1)[0], []).append(read_lines(path))  # type: ignore[arg-type]
    draw_curves(runs, work / "curves.svg")


if __name__ == "__main__":
    main()
