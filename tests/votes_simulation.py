"""Planted orders, careless votes: how well methods find the order again.

`python -m tests.votes_simulation` prints the table of docs/votes.md.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from yoj_cli.verdicts.agreement import agreement
from yoj_cli.votes.methods import rank_by
from yoj_cli.votes.vote import Vote

METHODS: tuple[Any, ...] = ("graph", "wins", "copeland", "bradley-terry")
FLIPPED = (0.1, 0.2, 0.3, 0.4)


def plant_votes(rng: random.Random, n: int, n_votes: int, flipped: float, *, careless: bool) -> list[Vote]:
    """Votes by three annotators on n responses, each of which flips a part of its votes.

    A name ends with the planted place ("x3f-00" is the best) and begins at random, so that no rule that goes by names
    can know the order.

    Args:
        n_votes: of each annotator, on pairs drawn without replacement; all pairs where there are not so many.
        careless: the third annotator flips half of its votes: it tosses a coin.
    """
    names = [f"x{rng.getrandbits(32):x}-{i:02}" for i in range(n)]
    pairs = list(combinations(names, 2))
    votes = []
    for annotator in "123":
        share = 0.5 if careless and annotator == "3" else flipped
        for better, worse in rng.sample(pairs, min(n_votes, len(pairs))):
            pair = (better, worse) if rng.random() < 0.5 else (worse, better)
            winner = worse if rng.random() < share else better
            votes.append(Vote(*pair, "a" if winner == pair[0] else "b", annotator))
    return votes


def tau(names: Sequence[str], ranks: Sequence[int]) -> float:
    """tau-b between a ranking and the planted order; 0 where all are tied."""
    return agreement([-rank for rank in ranks], [float(name[-2:]) for name in names]).tau or 0.0


def simulate(
    n: int, n_votes: int, flipped: float, *, careless: bool, n_groups: int, seed: int = 0
) -> dict[str, float]:
    """Method -> mean tau-b to the planted order over groups."""
    rng = random.Random(seed)
    sums = dict.fromkeys(METHODS, 0.0)
    for _ in range(n_groups):
        votes = plant_votes(rng, n, n_votes, flipped, careless=careless)
        names = sorted({name for vote in votes for name in (vote.a, vote.b)})
        for method in METHODS:
            sums[method] += tau(names, rank_by(method, names, votes))
    return {method: total / n_groups for method, total in sums.items()}


def table(n_groups: int = 200) -> str:
    """Markdown: two designs, each with three careful annotators, or with one of them careless."""
    lines = [
        "| responses, votes an annotator | third annotator | flipped | " + " | ".join(METHODS) + " |",
        "|---|---|---:|" + "---:|" * len(METHODS),
    ]
    for n, n_votes, design in ((6, 15, "6, all 15 pairs"), (19, 60, "19, 60 of 171 pairs")):
        for careless in (False, True):
            for flipped in FLIPPED:
                found = simulate(n, n_votes, flipped, careless=careless, n_groups=n_groups)
                cells = " | ".join(f"{found[method]:.3f}" for method in METHODS)
                whose = "careless" if careless else "as the others"
                lines.append(f"| {design} | {whose} | {flipped:.0%} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
