"""Orders of a whole group: balanced, distinct, and the same for the same seed."""

from __future__ import annotations

import statistics
from collections import Counter
from itertools import pairwise, permutations

import pytest

from yoj_cli.plan.branches import build_plan
from yoj_cli.plan.orders import williams_design

SIZES = range(2, 10)


def places(branches: tuple[tuple[int, ...], ...]) -> Counter[tuple[int, int]]:
    return Counter((i, place) for branch in branches for place, i in enumerate(branch))


def test_three_orders_of_three() -> None:
    assert build_plan(3, orders=3).branches == ((0, 1, 2), (1, 2, 0), (2, 0, 1))


@pytest.mark.parametrize("seed", [0, 5])
def test_two_orders_are_forward_and_reversed(seed: int) -> None:
    for n in SIZES:
        given = tuple(range(n))
        assert build_plan(n, orders=2, seed=seed).branches == (given, given[::-1])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_full_cycle_balances_places_and_neighbours(n: int, seed: int) -> None:
    n_rows = n if n % 2 == 0 else 2 * n
    branches = build_plan(n, orders=n_rows, seed=seed).branches if n > 2 else build_plan(n, orders=2).branches
    assert len(set(branches)) == n_rows
    assert all(sorted(branch) == list(range(n)) for branch in branches)
    assert set(places(branches).values()) == {n_rows // n}
    assert len(places(branches)) == n * n
    neighbours = Counter(pair for branch in branches for pair in pairwise(branch))
    assert set(neighbours.values()) == {n_rows // n}
    assert len(neighbours) == n * (n - 1)


def test_a_design_of_four_worked_by_hand() -> None:
    assert williams_design("abcd") == (  # type: ignore[arg-type]  # anything can be ordered
        ("a", "b", "c", "d"),
        ("d", "c", "b", "a"),
        ("b", "d", "a", "c"),
        ("c", "a", "d", "b"),
    )


@pytest.mark.parametrize("n", SIZES)
def test_fewer_orders_than_responses_put_each_in_different_places(n: int) -> None:
    for n_orders in range(3, n + 1):
        branches = build_plan(n, orders=n_orders, seed=3).branches
        assert set(places(branches).values()) == {1}


@pytest.mark.parametrize("n", [4, 6, 8])
def test_an_even_number_of_orders_of_an_even_number_evens_out_the_mean_place(n: int) -> None:
    for n_orders in range(2, n + 1, 2):
        branches = build_plan(n, orders=n_orders).branches
        for i in range(n):
            assert statistics.mean(branch.index(i) for branch in branches) == (n - 1) / 2


def test_seed_zero_starts_from_the_order_given_and_another_seed_from_elsewhere() -> None:
    assert build_plan(8, orders=4).branches[0] == tuple(range(8))
    assert build_plan(8, orders=4, seed=1) != build_plan(8, orders=4)
    assert build_plan(8, orders=4, seed=1) == build_plan(8, orders=4, seed=1)


@pytest.mark.parametrize(("n", "n_distinct"), [(1, 1), (2, 2), (3, 6), (4, 24), (5, 120)])
def test_more_orders_than_there_are_give_each_once(n: int, n_distinct: int) -> None:
    for seed in (0, 1):
        assert sorted(build_plan(n, orders=1000, seed=seed).branches) == list(permutations(range(n)))
        assert len(build_plan(n, orders=n_distinct, seed=seed).branches) == n_distinct


def test_orders_beyond_one_design_stay_distinct_and_balanced() -> None:
    branches = build_plan(6, orders=18, seed=2).branches
    assert len(set(branches)) == 18
    assert set(places(branches).values()) == {3}
