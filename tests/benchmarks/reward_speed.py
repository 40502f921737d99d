"""What a judge as a reward costs: completions a second of CPU time, by how the groups are read.

    python tests/benchmarks/reward_speed.py
    python tests/benchmarks/reward_speed.py --model JUDGE --device cuda --groups 16

One call holds all groups, as a trainer's does; each is a picture and G different completions. Ways are taken in turn,
the first turn does not count. Measured is CPU time of this process, which other processes change little, or on a GPU
the time that passes. The scores of `multi` are checked against the judge's own. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from random import Random
from statistics import median

from PIL import Image

from yoj_cli.rewards import GroupReward

PICTURES = sorted((Path(__file__).parents[2] / "examples" / "pictures").glob("*.png"))
COLORS, SHAPES = ("red", "blue", "green", "black", "purple"), ("circle", "square", "star", "triangle")
PLACES = ("the center", "the top left", "the top right", "the bottom left", "the bottom right")


def draw_batch(n_groups: int, size: int, random: Random) -> dict[str, list[object]]:
    """Prompts, pictures and completions of some 20 words, no two alike."""
    pictures = []
    for path in PICTURES:
        with Image.open(path) as opened:
            pictures.append(opened.convert("RGB"))

    def describe() -> str:
        parts = (
            f"a {random.choice(COLORS)} {random.choice(SHAPES)} in {random.choice(PLACES)}" for _ in range(3)
        )
        return ", ".join(parts) + f" and {random.random():.6f}."

    return {
        "prompts": [[{"role": "user", "content": "Describe this image."}] for _ in range(n_groups * size)],
        "completions": [describe() for _ in range(n_groups * size)],
        "image": [pictures[i // size % len(pictures)] for i in range(n_groups * size)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--size", type=int, default=8, help="completions a group")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    common = {"model": options.model, "device": options.device, "num_generations": options.size}
    ways = {
        "multi": GroupReward(**common, mode="multi"),
        "single": GroupReward(**common, mode="single"),
        "multi, 4 orders": GroupReward(**common, mode="multi", orders=4),
        "multi, windows of 4": GroupReward(**common, mode="multi", window=4),
    }
    random, clock = Random(0), time.perf_counter if options.device != "cpu" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.repeats + 1):
        given = draw_batch(options.groups, options.size, random)
        for name, reward in ways.items():
            started = clock()
            rewards = reward(**given)
            if turn:
                times[name].append(clock() - started)
            assert None not in rewards
    check(ways["multi"], options.size, random)
    seconds = {name: median(values) for name, values in times.items()}
    n = options.groups * options.size
    lines = ["| way | completions a second | ms a group |", "|---|---|---|"]
    lines += [
        f"| {name} | {n / each:.0f} | {1000 * each / options.groups:.0f} |" for name, each in seconds.items()
    ]
    found = {"size": options.size, "groups": options.groups, "device": options.device, "median_s": seconds}
    sys.stdout.write("\n".join([*lines, json.dumps(found)]) + "\n")


def check(reward: GroupReward, size: int, random: Random) -> None:
    """See that a reward is the judge's score."""
    given = draw_batch(1, size, random)
    places: list[int] = []
    rewards = reward(
        **given, log_extra=lambda name, values: places.extend(values) if "place" in name else None
    )
    texts = [given["completions"][places.index(place)] for place in range(size)]
    verdict = reward.load().score(prompt="Describe this image.", images=given["image"][:1], responses=texts)
    assert all(abs(r - verdict.scores[place]) < 5e-5 for r, place in zip(rewards, places, strict=True))


if __name__ == "__main__":
    main()
