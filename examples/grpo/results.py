"""The tables of a finished experiment, in Markdown.

python examples/grpo/results.py work
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

COLUMNS = {
    "reward_before": "its judge's reward, before",
    "reward": "and after",
    "preferred": "judge prefers after, %",
    "accuracy": "true, %",
    "wrong_facts": "wrong facts",
    "unreadable": "unreadable, %",
    "count": "counts right, %",
    "place": "places right, %",
    "entropy": "entropy",
    "kl": "KL",
    "length": "length",
    "distinct": "distinct, %",
}
PER_CENT = {"preferred", "accuracy", "unreadable", "count", "place", "distinct"}
Row = dict[str, float | str]


def why_collapsed(before: Row, after: Row) -> list[str]:
    """What makes a run a collapsed one, in words; nothing where it is not.

    The rule was fixed before the runs: a run has collapsed if afterwards, on the held-out pictures, fewer captions are
    true than before, or more than a tenth (and more than before) cannot be read, or counting has lost more than ten
    points, or the entropy is below a twentieth of what it was.
    """
    found = {
        "fewer true": float(after["accuracy"]) < float(before["accuracy"]),
        "unreadable": float(after["unreadable"]) > max(0.1, float(before["unreadable"])),
        "cannot count": float(after["count"]) < float(before["count"]) - 0.1,
        "no entropy": float(after["entropy"]) < float(before["entropy"]) / 20,
    }
    return [reason for reason, holds in found.items() if holds]


def means_table(rows: Sequence[Row]) -> str:
    """The policy before, and the mean ± standard deviation over seeds for each judge."""
    (before,) = (row for row in rows if row["run"] == "before")
    modes = list(dict.fromkeys(str(row["run"]) for row in rows if row["run"] != "before"))
    body = [["before", *(show(name, [before]) for name in COLUMNS), "–"]]
    for mode in modes:
        runs = [row for row in rows if row["run"] == mode]
        n_collapsed = sum(bool(why_collapsed(before, row)) for row in runs)
        body.append([mode, *(show(name, runs) for name in COLUMNS), f"{n_collapsed} of {len(runs)}"])
    return turned(["", *COLUMNS.values(), "collapsed"], body)


def seeds_table(rows: Sequence[Row]) -> str:
    """Every run on its own."""
    (before,) = (row for row in rows if row["run"] == "before")
    names = (
        "reward_before",
        "reward",
        "preferred",
        "accuracy",
        "unreadable",
        "count",
        "place",
        "entropy",
        "kl",
        "length",
    )
    body = []
    for row in sorted(rows, key=lambda row: (str(row["run"]), row.get("seed", 0))):
        if row["run"] != "before":
            collapsed = ", ".join(why_collapsed(before, row)) or "no"
            cells = (show(name, [row]) for name in names)
            body.append([f"{row['run']}, seed {row['seed']}", *cells, collapsed])
    return markdown(["run", *(COLUMNS[name] for name in names), "collapsed"], body)


def show(name: str, rows: Sequence[Row]) -> str:
    """ "63.1 ± 2.0"; the deviation only where there are several."""
    values = [float(row[name]) * (100 if name in PER_CENT else 1) for row in rows if name in row]
    if not values:
        return "–"
    digits = 1 if name in PER_CENT or name == "length" else 3 if name in ("entropy", "kl") else 2
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def turned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table with a column for each row of the body: figures of one kind stand beside each other."""
    columns = [list(head), *map(list, body)]
    first, *rest = zip(*columns, strict=True)
    return markdown(first, rest)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def read_lines(path: Path) -> list[Row]:
    """The lines of a file of results; none where it is not there."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    rows = read_lines(parser.parse_args().work / "results.jsonl")
    print(means_table(rows), seeds_table(rows), sep="\n\n")


if __name__ == "__main__":
    main()
