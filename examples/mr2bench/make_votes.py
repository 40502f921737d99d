"""Votes as people would cast them, on drawn scenes: what MR2Bench was made of, in small.

    python examples/mr2bench/make_votes.py --out data

writes `data/texts.jsonl` (questions about drawn pictures, eight models' answers to each), `data/pictures/`, and
`data/votes.jsonl`: three annotators compare two answers at a time, each wrong now and then and one of them often.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo_judge"))

import make_data
import scenes

N_MODELS = 8
WRONG = {"ann": 0.1, "ben": 0.15, "cleo": 0.35}
"""How often each annotator votes for the worse of two answers."""

VOTED = 0.5
"""Share of the pairs of a question that an annotator sees."""


def cast_votes(rng: random.Random, names: Sequence[str], ranks: Sequence[float]) -> Iterator[dict[str, str]]:
    """Each annotator's votes on one question; answers that are equally wrong are a tie."""
    for annotator, wrong in WRONG.items():
        for i, j in combinations(range(len(names)), 2):
            if rng.random() < VOTED:
                if rng.random() < 0.5:
                    i, j = j, i
                winner = "tie" if ranks[i] == ranks[j] else "a" if ranks[i] < ranks[j] else "b"
                if winner != "tie" and rng.random() < wrong:
                    winner = "b" if winner == "a" else "a"
                yield {"a": names[i], "b": names[j], "winner": winner, "annotator": annotator}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    (options.out / "pictures").mkdir(parents=True, exist_ok=True)
    with (
        (options.out / "texts.jsonl").open("w", encoding="utf-8") as texts,
        (options.out / "votes.jsonl").open("w", encoding="utf-8") as votes,
    ):
        for index in range(options.groups):
            group = scenes.sample_group(scenes.rng_for("heldout", options.seed, index), "picture", N_MODELS)
            record = make_data.write_group(options.out, index, group)
            ranks = record.pop("rankings")
            names = [f"model-{number}" for number in rng.sample(range(N_MODELS), N_MODELS)]
            texts.write(json.dumps({**record, "names": names}) + "\n")
            for vote in cast_votes(rng, names, ranks):
                votes.write(json.dumps({"group": record["id"], **vote}) + "\n")


if __name__ == "__main__":
    main()
