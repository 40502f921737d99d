"""Check and time everything that needs a GPU, with random weights: no file and no network is wanted.

    python tests/benchmarks/gpu_checks.py OUT_FOLDER
    python tests/benchmarks/gpu_checks.py OUT_FOLDER --device cpu --architecture tiny --n 1,2,4   # tries the script

What it runs goes to files of OUT_FOLDER: the tests marked `gpu`; `yoj bench-speed` in 4-bit and unquantized, one
picture and responses of 200 tokens; passes over several groups. The last line of standard output is one JSON document
with what was measured and what was wanted of it. Exits with 1 where something is missed. `attention_speed.py` beside
this file compares kinds of attention, and `full_size.py` loads, scores and trains through files of full size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yoj_cli.bench.case import Sizes
from yoj_cli.bench.flops import count_flops, count_vision_flops
from yoj_cli.bench.measure import matmul_peak, take_turns
from yoj_cli.bench.random_ids import draw_ids
from yoj_cli.bench.random_init import build_random, draw_pictures
from yoj_cli.bench.variants import VARIANTS, Subject
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.scoring.engine import Engine

SIZES = Sizes(prompt=64, response=200, picture=1000)
WANTED_SPEEDUP, WANTED_SHARE, WANTED_BYTES = 5.0, 0.45, 8e9
N_CHECKED = 8


def run_tests(out: Path) -> bool:
    """The tests that are skipped where there is no GPU."""
    with (out / "tests.txt").open("w") as log:
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q"]
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode in (0, 5)


def bench(args: argparse.Namespace, quant: str) -> dict[str, Any]:
    """`yoj bench-speed`, whose JSON document is kept whole; figures of the ways that have a wanted value."""
    options = {
        "random-init": args.architecture,
        "device": args.device,
        "quant": quant,
        "n": args.n,
        "prompt-tokens": SIZES.prompt,
        "response-tokens": SIZES.response,
        "picture-tokens": SIZES.picture,
        "repeats": args.repeats,
        "plot": args.out / f"speed-{quant}.png",
    }
    command = ["yoj", "bench-speed", "--json", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (args.out / f"speed-{quant}.json").write_text(done.stdout)
    (args.out / f"speed-{quant}.txt").write_text(done.stderr)
    if not done.stdout:
        return {"quant": quant, "error": done.stderr[-500:]}
    document = json.loads(done.stdout)
    found: dict[str, Any] = {
        "quant": quant,
        "device": document["device_name"],
        "agrees": document["agrees"],
        "model_bytes": document["model_bytes"],
        "matmul_flop_per_s": document["matmul_flop_per_s"],
    }
    for each in document["runs"]:
        rows = {row["key"]: row for row in each["variants"] if row["in_table"] and not row["error"]}
        found[f"n={each['n']}"] = {"token_ratio": each["token_ratio"]} | {
            key: {
                name: row[name]
                for name in ("median_s", "speedup", "peak_memory_bytes", "share_of_matmul_peak")
            }
            for key, row in rows.items()
        }
    return found


def read_batches(args: argparse.Namespace, quant: str) -> dict[str, Any]:
    """What share of the matmul peak the engine reaches, by the tokens of a pass over several groups."""
    subject = Subject.build(*build_random(args.architecture, JudgeConfig(device=args.device, quant=quant), 0))
    backbone = subject.backbone
    pictures = draw_pictures(args.architecture, SIZES.picture, args.groups, 0)
    cases = draw_ids(backbone, 4, SIZES, pictures, orders=1, seed=0)
    work = next(variant.work for variant in VARIANTS if variant.key == "e")
    flop = sum(
        count_flops(backbone, work(subject, case), count_vision_flops(backbone, case.multi)) for case in cases
    )
    sequences = [case.multi for case in cases]

    def score(n_tokens: int) -> None:
        engine = Engine(backbone, subject.head, n_tokens)
        for batch in engine.bucket(dict(enumerate(sequences))):
            engine.score([sequences[index] for index in batch])

    ways = {str(n_tokens): partial(score, n_tokens) for n_tokens in args.batch_tokens}
    timings = take_turns(ways, backbone.device, warmup=1, repeats=args.repeats, tell=tell)
    peak = matmul_peak(backbone.device, backbone.dtype)
    shares = {key: flop / timing.median_s / peak for key, timing in timings.items() if not timing.error}
    return {
        "quant": quant,
        "groups": args.groups,
        "tokens_a_group": sequences[0].n_tokens,
        "share_of_peak": shares,
    }


def judge(report: dict[str, Any]) -> list[str]:
    """What is not as it is wanted."""
    missed = [] if report["tests_passed"] else ["a test marked gpu failed: tests.txt"]
    for found in report["bench"]:
        row = found.get(f"n={N_CHECKED}", {}).get("e")
        if not found.get("agrees") or row is None:
            missed.append(f"{found['quant']}: no figures, or scores that disagree")
            continue
        if row["speedup"] < WANTED_SPEEDUP:
            missed.append(f"{found['quant']}: multi is {row['speedup']:.2f} times as fast as one by one")
        n_bytes = found["model_bytes"] + (row["peak_memory_bytes"] or 0)
        if found["quant"] == "4bit" and n_bytes > WANTED_BYTES:
            missed.append(f"4bit: {n_bytes / 1e9:.2f} GB at N={N_CHECKED}")
    best = max(report["batches"]["share_of_peak"].values())
    if best < WANTED_SHARE:
        missed.append(f"batches reach {best:.0%} of the matmul peak")
    return missed


def tell(what: str) -> None:
    sys.stderr.write(what + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--architecture", default="molmo2-4b")
    parser.add_argument("--quant", nargs="+", default=["4bit", "none"])
    parser.add_argument("--n", default="1,2,4,8,16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--groups", type=int, default=16, help="in the passes over several")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[1, 4096, 8192, 16384, 32768])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"torch": torch.__version__, "tests_passed": run_tests(args.out)}
    report["bench"] = [bench(args, quant) for quant in args.quant]
    report["batches"] = read_batches(args, args.quant[-1])
    report["missed"] = judge(report)
    sys.stdout.write(json.dumps(report) + "\n")
    sys.exit(bool(report["missed"]))


if __name__ == "__main__":
    main()
