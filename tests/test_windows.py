"""Windows: every response read as often as every other, and all of them comparable."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import product

import pytest

from yoj_cli.plan.branches import build_plan

WINDOWS = list(product((3, 4, 5, 7, 8, 12, 13, 24, 50), (2, 3, 4, 5, 8), (0, 1, 2)))
WINDOWS = [(n, window, seed) for n, window, seed in WINDOWS if n > window]


def is_connected(n: int, branches: tuple[tuple[int, ...], ...]) -> bool:
    reached, todo = {0}, [0]
    while todo:
        i = todo.pop()
        for branch in branches:
            if i in branch:
                todo += set(branch) - reached
                reached |= set(branch)
    return len(reached) == n


@pytest.mark.parametrize(("n", "window", "seed"), WINDOWS)
@pytest.mark.parametrize("n_rounds", [2, 3, 5])
def test_windows_keep_every_promise(n: int, window: int, seed: int, n_rounds: int) -> None:
    branches = build_plan(n, window=window, orders=n_rounds, seed=seed).branches
    n_per_round = math.ceil(n / window)
    assert len(branches) == n_rounds * n_per_round
    assert all(len(set(branch)) == window == len(branch) for branch in branches)
    for start in range(0, len(branches), n_per_round):
        assert {i for branch in branches[start : start + n_per_round] for i in branch} == set(range(n))
    assert is_connected(n, branches)
    n_reads = Counter(i for branch in branches for i in branch)
    assert max(n_reads.values()) - min(n_reads.values()) <= 1
    count = Counter((i, place) for branch in branches for place, i in enumerate(branch))
    for i in range(n):
        of_i = [count[i, place] for place in range(window)]
        assert max(of_i) - min(of_i) <= 1


def test_pairs_of_two_rounds_are_connected_for_every_seed() -> None:
    # Two perfect matchings of 40 drawn at random are connected in about one case of five.
    assert all(
        is_connected(40, build_plan(40, window=2, orders=2, seed=seed).branches) for seed in range(100)
    )


def test_windows_depend_on_the_seed_and_on_nothing_else() -> None:
    first = build_plan(20, window=4, seed=1)
    random.seed(99)
    build_plan(21, window=4, seed=1)
    assert build_plan(20, window=4, seed=1) == first
    assert build_plan(20, window=4, seed=2) != first
