"""Train the demo judge in several ways and compare them on held-out scenes.

    python examples/demo_judge/ablation.py train ablation
    python examples/demo_judge/ablation.py measure ablation

`train` runs `yoj train` once for every way and seed on one small set of groups, the best response first in each (as
it stands in chosen/rejected data); `measure` scores held-out groups with every judge and prints the tables of the
README. Both skip what is there already. About two hours on one core.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from make_data import write_groups

SEEDS = (0, 1, 2)
SIZES = (2, 4, 8)
N_TRAIN, N_HELD_OUT = 500, 250
"""Of pictures, and as many of clips."""
RECIPE = (
    *("--device", "cpu", "--base", "demo", "--lora-r", "16", "--lora-alpha", "32", "--head-dim", "128"),
    *("--epochs", "3", "--batch-size", "16", "--learning-rate", "1e-3", "--no-gradient-checkpointing"),
    *("--save-every", "1000"),
)
WAYS: dict[str, tuple[str, ...]] = {
    "multi, ce": (),
    "multi, plackett-luce": ("--loss", "plackett-luce"),
    "multi, bradley-terry": ("--loss", "bradley-terry"),
    "multi, ce, not shuffled": ("--no-shuffle-responses",),
    "single, bradley-terry": ("--mode", "single"),
}
T_95 = 4.303
"""Student's t for a 95 % interval around the mean of three."""


@dataclass(frozen=True)
class Reading:
    """One way to read groups at inference: columns of the tables."""

    name: str
    n: int
    options: dict[str, object]


READINGS = (
    *(Reading(f"N={n}", n, {}) for n in SIZES),
    *(Reading(f"N=4, orders {k}", 4, {"orders": k}) for k in (2, 4)),
    Reading("N=4, other mode", 4, {"mode": "other"}),
)


def sort_best_first(path: Path) -> Path:
    """Write the groups with their responses in the order of their rankings."""
    out = path.with_name("sorted.jsonl")
    with path.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as file:
        for line in lines:
            group = json.loads(line)
            order = sorted(range(len(group["rankings"])), key=group["rankings"].__getitem__)
            for name in ("responses", "rankings"):
                group[name] = [group[name][index] for index in order]
            file.write(json.dumps(group, ensure_ascii=False) + "\n")
    return out


def folder_of(out: Path, way: str, seed: int) -> Path:
    """Where a way's judge of one seed lies."""
    return out / f"{way.replace(', ', '_').replace(' ', '-')}_{seed}"


def train(out: Path, seeds: Sequence[int]) -> None:
    """Train every judge that is not there yet."""
    data = out / "train" / "sorted.jsonl"
    if not data.exists():
        sort_best_first(write_groups(out / "train", N_TRAIN, N_TRAIN, (2, 8), "train", 1))
    for seed in seeds:
        for way, options in WAYS.items():
            folder = folder_of(out, way, seed)
            if not (folder / "reward_model_config.json").exists():
                command = [
                    "yoj",
                    "train",
                    str(data),
                    "-o",
                    str(folder),
                    *RECIPE,
                    *options,
                    "--seed",
                    str(seed),
                ]
                print(" ".join(command), flush=True)
                subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def measure(out: Path, seeds: Sequence[int]) -> None:
    """Score held-out groups with every judge, into results.jsonl."""
    results = out / "results.jsonl"
    known = {(row["way"], row["seed"]) for row in read_results(results)}
    for n in SIZES:
        if not (out / f"held{n}" / "groups.jsonl").exists():
            write_groups(out / f"held{n}", N_HELD_OUT, N_HELD_OUT, (n, n), "heldout", 7)
    for seed in seeds:
        for way in WAYS:
            folder = folder_of(out, way, seed)
            if (way, seed) not in known and (folder / "reward_model_config.json").exists():
                rows = [{"way": way, "seed": seed, **row} for row in measure_judge(out, folder)]
                with results.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                print(way, seed, {row["reading"]: row["best"] for row in rows}, flush=True)


def measure_judge(out: Path, folder: Path) -> Iterator[dict[str, object]]:
    """Best-of-N, pairs and tau of each reading; for plain readings how many winners change in reverse."""
    from yoj_cli import Judge
    from yoj_cli.records.parse import read_groups
    from yoj_cli.verdicts.agreement import Summary

    mode = json.loads((folder / "reward_model_config.json").read_text(encoding="utf-8"))["mode"]
    for reading in READINGS:
        options = dict(reading.options)
        if mode == "single" and "orders" in options:
            continue  # each response is alone: there is no order
        if options.get("mode") == "other":
            options["mode"] = "single" if mode == "multi" else "multi"
        judge = Judge.load(str(folder), device="cpu", **options)
        held = out / f"held{reading.n}"
        groups = list(read_groups(str(held / "groups.jsonl")))
        summary, winners = Summary(), []
        for verdict in judge.score_groups(groups):
            summary.add(verdict)  # type: ignore[arg-type]
            winners.append(verdict.best)  # type: ignore[union-attr]
        mean = summary.agreement
        row = {"reading": reading.name, "best": mean.best, "pairs": mean.pairs, "tau": mean.tau}
        if not options and mode == "multi":
            turned = [replace(group, responses=group.responses[::-1]) for group in groups]  # type: ignore[type-var]
            again = [verdict.best for verdict in judge.score_groups(turned)]  # type: ignore[union-attr]
            row["flipped"] = sum(reading.n - 1 - b != a for a, b in zip(winners, again, strict=True)) / len(
                groups
            )
        yield row


def read_results(path: Path) -> list[dict[str, object]]:
    """The rows that were measured so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def print_table(rows: Sequence[dict[str, object]], value: str) -> None:
    """A markdown table of means over seeds with 95 % intervals; a row for each way."""
    names = [
        reading.name
        for reading in READINGS
        if any(row["reading"] == reading.name and value in row for row in rows)
    ]
    print(f"\n{value}\n\n| trained | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for way in WAYS:
        cells = []
        for name in names:
            found = [
                float(row[value])
                for row in rows
                if (row["way"], row["reading"]) == (way, name) and value in row
            ]  # type: ignore[arg-type]
            spread = T_95 * statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
            cells.append(f"{statistics.mean(found):.3f} ± {spread:.3f}" if found else "–")
        print(f"| {way} | {' | '.join(cells)} |")


def main() -> None:
    """Read the options and do what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("train", "measure"))
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="only these")
    args = parser.parse_args()
    if args.what == "train":
        train(args.out, args.seeds)
        return
    measure(args.out, args.seeds)
    rows = read_results(args.out / "results.jsonl")
    for value in ("best", "pairs", "tau", "flipped"):
        print_table(rows, value)


if __name__ == "__main__":
    sys.exit(main())
