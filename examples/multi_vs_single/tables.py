"""Tables of the results, in Markdown.

    python examples/multi_vs_single/tables.py examples/multi_vs_single/results/claim.jsonl …

Intervals hold 95 % of 10,000 bootstrap resamples, of seeds and, as whole clusters, of held-out groups: a group keeps
the outcomes of all judges that read it, and groups of one prompt are drawn together. So differences between two ways to
train are paired by seed and by group.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import read_lines

N_RESAMPLES = 10_000

Row = dict[str, Any]


def outcomes(rows: Sequence[Row], name: str, test: str, reading: str, what: str) -> np.ndarray | None:
    """(seeds, groups) of 0 and 1; None where there is nothing."""
    found = {
        row["seed"]: row[what]
        for row in rows
        if (row["name"], row.get("test"), row.get("reading")) == (name, test, reading) and what in row
    }
    return np.array([[int(each) for each in found[seed]] for seed in sorted(found)]) if found else None


def clusters(rows: Sequence[Row], test: str) -> np.ndarray | None:
    """(groups,) number of each group's prompt; None where every group has its own."""
    numbers = next((row["prompts"] for row in rows if row.get("test") == test and "prompts" in row), None)
    return None if numbers is None else np.array(numbers)


def interval(values: np.ndarray, prompts: np.ndarray | None = None) -> tuple[float, float, float]:
    """Mean of (seeds, groups), and the ends of its 95 % interval.

    Args:
        prompts: (groups,) number of each group's prompt, from 0; None where every group has its own.
    """
    rng = np.random.default_rng(0)
    n_seeds, n_groups = values.shape
    seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=N_RESAMPLES)  # (R, S)
    prompts = np.arange(n_groups) if prompts is None else prompts
    n_prompts = prompts.max() + 1
    drawn = rng.multinomial(n_prompts, np.full(n_prompts, 1 / n_prompts), size=N_RESAMPLES)
    groups = drawn[:, prompts]  # (R, G)
    sums = np.einsum("rs,sg,rg->r", seeds, values, groups, optimize=True)
    means = sums / (n_seeds * groups.sum(axis=1))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def show(values: np.ndarray | None, prompts: np.ndarray | None = None, scale: float = 100) -> str:
    """ "61.3 [55.0, 67.7]", in per cent."""
    if values is None:
        return "–"
    mean, low, high = (scale * value for value in interval(values, prompts))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def readings_table(rows: Sequence[Row], what: str) -> str:
    """A row for each way to train, a column for each test and reading; then differences to the first way."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    tests = list(dict.fromkeys(row["test"] for row in rows if "test" in row))
    columns = [(test, reading) for test in tests for reading in ("multi", "single")]
    columns = [c for c in columns if any(outcomes(rows, name, *c, what) is not None for name in names)]
    body = []
    for name in names:
        n_seeds = len({row["seed"] for row in rows if row["name"] == name})
        body.append(
            [
                f"{name} ({n_seeds} seed{'s' * (n_seeds > 1)})",
                *(show(outcomes(rows, name, *c, what), clusters(rows, c[0])) for c in columns),
            ]
        )
    for name in names[1:]:
        pairs = [[outcomes(rows, n, *c, what) for n in (names[0], name)] for c in columns]
        cells = [
            show(difference(*pair), clusters(rows, test))
            for pair, (test, _) in zip(pairs, columns, strict=True)
        ]
        body.append([f"*{name}* less *{names[0]}*", *cells])
    words = {"multi": "together", "single": "one by one"}
    return markdown(["trained", *(f"{test}, {words[reading]}" for test, reading in columns)], body)


def difference(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Second less first, over the seeds that both have."""
    if first is None or second is None:
        return None
    n_seeds = min(len(first), len(second))
    return second[:n_seeds] - first[:n_seeds]


def own_reading_table(rows: Sequence[Row]) -> str:
    """Multi read together less single read one by one: each judge as it was trained."""
    tests = list(dict.fromkeys(row["test"] for row in rows if "test" in row))
    cells = [
        show(
            difference(
                outcomes(rows, "single, bradley-terry", test, "single", "hits"),
                outcomes(rows, "multi, ce", test, "multi", "hits"),
            ),
            clusters(rows, test),
        )
        for test in tests
    ]
    return markdown(["each read as it was trained", *tests], [["multi less single", *cells]])


def start_table(rows: Sequence[Row]) -> str:
    """What moved in short runs: means over seeds, lowest and highest seed in brackets."""
    body = []
    for name in dict.fromkeys(row["name"] for row in rows):
        steps = [row["steps"] for row in rows if row["name"] == name and "steps" in row]
        losses = [float(np.mean([step["loss"] for step in each[-4:]])) for each in steps]
        first, last = ([each[i]["spread"] for each in steps] for i in (0, -1))
        body.append([
            name,
            ranged(losses, 3),
            ranged(first, 4),
            ranged(last, 3),
            show(outcomes(rows, name, "held out", "multi", "hits")),
        ])  # fmt: skip
    head = ["setting", "loss at the end", "spread at the start", "spread at the end", "best of N, held out"]
    return markdown(head, body)


def ranged(values: Sequence[float], digits: int) -> str:
    """ "1.312 (1.250 to 1.380)"."""
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Print the tables of each file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    for path in parser.parse_args().results:
        rows = read_lines(path)
        print(f"\n## {path.name}")
        if path.name.startswith("learning_start"):
            print(f"\n{start_table(rows)}")
            continue
        print(f"\nBest of N, %:\n\n{readings_table(rows, 'hits')}\n\n{own_reading_table(rows)}")
        print(f"\nWinner changes when the responses are reversed, %:\n\n{readings_table(rows, 'flips')}")


if __name__ == "__main__":
    main()
