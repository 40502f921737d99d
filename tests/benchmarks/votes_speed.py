"""Time and memory of `yoj votes rank`: 100,000 votes by three annotators on 500 questions of 19 models.

    python tests/benchmarks/votes_speed.py

Runs the command as a user would, on votes made here, and checks that the planted orders come back. The last line is one
JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

from yoj_cli.verdicts.agreement import agreement

PROGRAM = "from yoj_cli.cli.main import main; main()"
N_MODELS = 19
MODELS = [f"model-{number * 7 % N_MODELS:02}" for number in range(N_MODELS)]
"""Best first; their names sort otherwise."""

FLIPPED = 0.15


def write_votes(path: Path, n_votes: int, n_groups: int) -> None:
    """Votes on pairs drawn at random; the order of MODELS holds in every group, and 15 % of the votes are flipped."""
    rng = random.Random(0)
    pairs = list(combinations(range(N_MODELS), 2))
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_votes):
            a, b = rng.choice(pairs)
            winner = "b" if rng.random() < FLIPPED else "a"
            if rng.random() < 0.5:
                a, b, winner = b, a, {"a": "b", "b": "a"}[winner]
            group = f"question-{number % n_groups}"
            row = {"group": group, "prompt": f"prompt of {group}", "a": MODELS[a], "b": MODELS[b]}
            row |= {"winner": winner, "annotator": f"annotator-{rng.randrange(3)}"}
            row |= {"a_text": f"answer {a} " * 20, "b_text": f"answer {b} " * 20}
            file.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--votes", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        votes, ranked = Path(folder) / "votes.jsonl", Path(folder) / "ranked.jsonl"
        write_votes(votes, options.votes, options.groups)
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "votes", "rank", str(votes), "-o", str(ranked)]
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        records = [json.loads(line) for line in ranked.read_text(encoding="utf-8").splitlines()]
    taus = [agreement([-rank for rank in each["rankings"]], _planted(each["names"])).tau for each in records]
    report = {
        "votes": options.votes,
        "groups": len(records),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
        "mean_tau_to_planted_order": round(sum(tau or 0.0 for tau in taus) / len(taus), 3),
    }
    print(json.dumps(report))  # noqa: T201


def _planted(names: list[str]) -> list[float]:
    return [float(MODELS.index(name)) for name in names]


if __name__ == "__main__":
    main()
