"""Time `yoj train` on short groups against that of another commit: the same command in both checkouts, in turn.

    git worktree add ../then COMMIT
    OMP_NUM_THREADS=1 python tests/benchmarks/train_against.py ../then

Seconds of the process, not of the clock, for what 320 more groups take: start-up cancels out. Options that only one of
the two knows cannot be given. The last line of standard output is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[2]
FEW, MORE = 32, 320
N_TURNS = 3
RECIPE = (
    *("--base", "demo", "--device", "cpu", "--lora-r", "16", "--lora-alpha", "32", "--head-dim", "128"),
    *("--epochs", "1", "--batch-size", "16"),
)


def write_groups(path: Path, n_groups: int) -> None:
    """Four answers of three to eight words to a question of five to ten: some 190 tokens of the demo's tokenizer."""
    generator = random.Random(n_groups)
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_groups):
            answers = [f"answer {i} " + "text " * generator.randint(3, 8) for i in range(4)]
            prompt = f"question {number} " + "word " * generator.randint(5, 10)
            record = {"prompt": prompt, "responses": answers, "rankings": [1, 2, 3, 4]}
            file.write(json.dumps(record) + "\n")


def seconds_of(checkout: Path, data: Path, out: Path, options: list[str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "yoj_cli", "train", str(data), "-o", str(out), *RECIPE, *options]
    environment = os.environ | {"PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, cwd=out.parent, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("then", type=Path, help="a checkout of another commit")
    parser.add_argument("options", nargs="*", help="further options of yoj train, after --")
    args = parser.parse_args()
    checkouts = {"then": args.then.resolve(), "now": HERE}
    found: dict[str, list[float]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for n_groups in (FEW, FEW + MORE):
            write_groups(folder / f"{n_groups}.jsonl", n_groups)
        for turn in range(N_TURNS):
            for name, checkout in checkouts.items():
                few, many = (
                    seconds_of(checkout, folder / f"{n}.jsonl", folder / f"{name}{turn}_{n}", args.options)
                    for n in (FEW, FEW + MORE)
                )
                found[name].append(many - few)
                sys.stderr.write(f"{name}: {many - few:.1f} s for {MORE} groups\n")
    then, now = (statistics.median(found[name]) for name in ("then", "now"))
    print(json.dumps({"then_s": round(then, 2), "now_s": round(now, 2), "speed_up": round(then / now, 2)}))  # noqa: T201


if __name__ == "__main__":
    main()
