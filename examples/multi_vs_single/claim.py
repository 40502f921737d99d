"""The paper's claim on drawn scenes: multi (ce) against single (Bradley-Terry), and training in two orders.

    python examples/multi_vs_single/claim.py work --backbone work/backbone

Every judge is trained on the same 640 groups of four, each seen once, and measured on the same held-out groups of 2, 4
and 8, read together and one by one. Results are added to `work/claim.jsonl`; what is there is not done again.
"""

import argparse
from pathlib import Path
from typing import Any

import near_misses
from experiment import Setting, run_once

from yoj_cli.groups import Group
from yoj_cli.train.data import read_ranked

SEEDS = (0, 1, 2)
SIZES = (2, 4, 8)
N_TRAIN, N_HELD_OUT = 640, 60
RECIPE: dict[str, Any] = {
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "head_dim": 128,
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-2,
    "warmup_ratio": 0.05,
}
SETTINGS = (
    Setting("multi, ce", RECIPE),
    Setting("single, bradley-terry", {**RECIPE, "mode": "single"}),
    Setting("multi, ce, 2 orders, consistency", RECIPE, orders=2, consistency=1.0),
)


def read(path: Path) -> list[Group]:
    """The groups of a file that was written here: none of them can fail."""
    return [group for group in read_ranked([path]) if isinstance(group, Group)]


def main() -> None:
    """Write the data, and train and measure what is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--backbone", required=True, help="folder that make_backbone.py wrote, or 'demo'")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these ways to train")
    parser.add_argument("--n-train", type=int, default=N_TRAIN, help="groups to train on")
    parser.add_argument(
        "--n-held-out", type=int, default=N_HELD_OUT, help="groups of each size to measure on"
    )
    parser.add_argument(
        "--n-shapes",
        type=int,
        nargs="+",
        default=near_misses.N_THINGS,
        help="shapes in a picture, all numbers equally likely; groups that OUT already holds stay as they are",
    )
    args = parser.parse_args()
    near_misses.N_THINGS = tuple(args.n_shapes)
    train = read(near_misses.write_groups(args.out / "train", args.n_train, (4,), "train", 0))
    held_out = {}
    for n in SIZES:
        path = near_misses.write_groups(args.out / f"held-out-{n}", args.n_held_out, (n,), "heldout", n)
        held_out[f"N={n}"] = read(path)
    for setting in SETTINGS:
        for seed in args.seeds:
            if not args.only or setting.name in args.only:
                run_once(args.out / "claim.jsonl", setting, seed, args.backbone, train, held_out)


if __name__ == "__main__":
    main()
