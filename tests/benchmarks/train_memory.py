"""Set the memory that `yoj train` says it will take beside the most that it does take, on this machine's CPU.

    python tests/benchmarks/train_memory.py
    python tests/benchmarks/train_memory.py --base SmolLM2-135M --data pairs.jsonl --limit 12 --batch-size 6

Every run is a process of its own, so that its peak (resident memory, as the system counts it) is its own: the base
unquantized and in 4-bit, with activations recomputed and kept, with and without a look at the data first. Prints a
Markdown table; the last line of standard output is one JSON document. `--base` is the demo's backbone or a folder
of yours, `--data` ranked groups as `yoj train` reads them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from yoj_cli.config.train import TrainConfig

EXAMPLES = Path(__file__).parents[2] / "examples" / "rankings" / "train.jsonl"
CASES: dict[str, dict[str, object]] = {
    "unquantized, recomputed": {"quant": "none"},
    "unquantized, recomputed, --no-check": {"quant": "none", "check": False},
    "unquantized, kept": {"quant": "none", "gradient_checkpointing": False},
    "4-bit, recomputed": {"quant": "4bit"},
    "4-bit, kept": {"quant": "4bit", "gradient_checkpointing": False},
}


def measure_one(args: argparse.Namespace, options: dict[str, object]) -> dict[str, int]:
    """Train in this process: what was said before, and the peak since the process began; bytes."""
    from yoj_cli.train.prepare import prepare
    from yoj_cli.train.run import train

    config = TrainConfig(
        base=args.base,
        device="cpu",
        epochs=1,
        batch_size=args.batch_size,
        lora_r=args.lora_r,
        limit=args.limit,
        **options,  # type: ignore[arg-type]
    )
    with tempfile.TemporaryDirectory() as folder:
        run = prepare([args.data], Path(folder) / "judge", config)
        train(run)
    memory = run.memory
    return {
        "estimate_bytes": memory.total,
        "process_bytes": memory.process,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "pass_tokens": memory.n_tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="demo", help="'demo' or a folder")
    parser.add_argument("--data", type=Path, default=EXAMPLES, help="ranked groups")
    parser.add_argument("--limit", type=int, default=24, help="groups to train on")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lora-r", type=int, default=128)
    parser.add_argument("--only", type=int, nargs="+", metavar="K", help="only these runs, counted from 0")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(measure_one(args, CASES[args.one])) + "\n")
        return
    found = {}
    names = [list(CASES)[k] for k in args.only] if args.only else list(CASES)
    for name in names:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[name] = one = json.loads(done.stdout.splitlines()[-1])
        one["ratio"] = round(one["estimate_bytes"] / one["peak_bytes"], 2)
        megabytes = [f"{one[key] / 1e6:,.0f}" for key in ("process_bytes", "estimate_bytes", "peak_bytes")]
        row = (f"{Path(args.base).name}, r {args.lora_r}, {name}", *megabytes, str(one["ratio"]))
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
