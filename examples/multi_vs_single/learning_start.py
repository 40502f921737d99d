"""What makes learning start: head rate, warm-up, the head's first weights, rank; short runs with three seeds.

    python examples/multi_vs_single/learning_start.py work --base demo

Every run takes 50 steps of 8 groups, and is measured on 40 held-out groups of four. Results are added to
`work/learning_start_BASE.jsonl`; what is there is not done again.
"""

import argparse
from pathlib import Path
from typing import Any

import near_misses
from claim import read
from experiment import Setting, run_once

SEEDS = (0, 1, 2)
COMMON: dict[str, Any] = {"epochs": 1, "batch_size": 8, "lora_dropout": 0.0}
SMALL: dict[str, Any] = {**COMMON, "lora_r": 16, "lora_alpha": 32, "head_dim": 128}
SETTINGS = (
    Setting("r 128, alpha 16, rate 1e-4 (the defaults)", {**COMMON}),
    Setting("r 128, alpha 16, rate 1e-3", {**COMMON, "learning_rate": 1e-3}),
    Setting("r 16, alpha 32, rate 1e-4", {**SMALL}),
    Setting("r 16, alpha 32, rate 1e-3", {**SMALL, "learning_rate": 1e-3}),
    Setting("the same, head rate 1e-2", {**SMALL, "learning_rate": 1e-3, "head_learning_rate": 1e-2}),
    Setting("the same, warm-up 0.2", {**SMALL, "learning_rate": 1e-3, "warmup_ratio": 0.2}),
    Setting("the same, head std 0.1", {**SMALL, "learning_rate": 1e-3, "head_std": 0.1}),
    Setting("the same, plackett-luce", {**SMALL, "learning_rate": 1e-3, "loss": "plackett-luce"}),
    Setting("r 16, alpha 32, rate 3e-3", {**SMALL, "learning_rate": 3e-3}),
)


def main() -> None:
    """Train and measure what is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--base", default="demo", help="'demo' or a folder")
    parser.add_argument("--data", type=Path, help="ranked groups to train on, instead of drawn scenes")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--only", type=int, nargs="+", metavar="K", help="only these settings, counted from 0"
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--n-held-out", type=int, default=40)
    args = parser.parse_args()
    if args.data:
        groups = read(args.data)
        train, held_out = groups[args.n_held_out :], groups[: args.n_held_out]
    else:
        train = read(near_misses.write_groups(args.out / "train", 2000, (4,), "train", 0))[:1000]
        held_out = read(near_misses.write_groups(args.out / "held-out-4", 60, (4,), "heldout", 4))
    path = args.out / f"learning_start_{Path(args.base).name}.jsonl"
    for seed in args.seeds:
        for setting in [SETTINGS[k] for k in args.only] if args.only else SETTINGS:
            run_once(
                path,
                setting,
                seed,
                args.base,
                train,
                {"held out": held_out[: args.n_held_out]},
                readings=("multi",),
                max_steps=args.steps,
            )


if __name__ == "__main__":
    main()
