"""The two modes on a small real language model with real pairs, from a file of yours.

    python examples/multi_vs_single/real.py work --base SmolLM2-135M --data pairs.jsonl

`--base` is a folder of a language model and `--data` a file of ranked groups as `yoj train` reads it; neither is part
of this project. Of the groups of at most `--max-characters`, the first `--n-held-out` are held out with all others of
their prompts, and the next ones trained on. Results are added to `work/real.jsonl`.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from claim import read
from experiment import Setting, run_once

RECIPE: dict[str, Any] = {
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "head_dim": 128,
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-2,
    "warmup_ratio": 0.1,
}
SETTINGS = (Setting("multi, ce", RECIPE), Setting("single, bradley-terry", {**RECIPE, "mode": "single"}))


def main() -> None:
    """Train and measure what is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--base", required=True, help="folder of a language model")
    parser.add_argument("--data", type=Path, required=True, help="ranked groups, one JSON line each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--max-characters", type=int, default=4000, help="longest prompt with its responses")
    parser.add_argument("--n-train", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=1, help="passes over the groups trained on")
    parser.add_argument("--n-held-out", type=int, default=100)
    args = parser.parse_args()
    groups = [
        group
        for group in read(args.data)
        if len(set(group.rankings or ())) > 1
        and len(group.prompt) + sum(map(len, group.responses)) <= args.max_characters
    ]
    prompts = {group.messages for group in groups[: args.n_held_out]}
    held_out = [group for group in groups if group.messages in prompts]
    train = [group for group in groups if group.messages not in prompts][: args.n_train]
    print(f"{len(groups)} groups fit: {len(train)} to train on, {len(held_out)} held out", flush=True)
    for seed in args.seeds:
        for setting in SETTINGS:
            setting = replace(setting, options={**setting.options, "epochs": args.epochs})
            run_once(args.out / "real.jsonl", setting, seed, args.base, train, {"held out": held_out})


if __name__ == "__main__":
    main()
