"""Plans: which responses are read together, and how their scores join."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from itertools import combinations, pairwise, permutations, product
from typing import Any

import pytest

from yoj_cli.errors import UsageError
from yoj_cli.plan import (
    DEFAULT_ROUNDS,
    Plan,
    build_plan,
    check_plan_options,
    join,
    order_agreement,
    williams_design,
)

SIZES = range(2, 10)
WINDOWS = list(product((3, 4, 5, 7, 8, 12, 13, 24, 50), (2, 3, 4, 5, 8), (0, 1, 2)))
WINDOWS = [(n, window, seed) for n, window, seed in WINDOWS if n > window]


def places(branches: tuple[tuple[int, ...], ...]) -> Counter[tuple[int, int]]:
    return Counter((i, place) for branch in branches for place, i in enumerate(branch))


def is_connected(n: int, branches: tuple[tuple[int, ...], ...]) -> bool:
    reached, todo = {0}, [0]
    while todo:
        i = todo.pop()
        for branch in branches:
            if i in branch:
                todo += set(branch) - reached
                reached |= set(branch)
    return len(reached) == n


def test_the_paper_reads_all_in_the_order_given_whatever_the_seed() -> None:
    assert build_plan(3) == Plan("multi", 3, ((0, 1, 2),))
    assert build_plan(3, seed=7) == build_plan(3)


def test_single_reads_each_alone() -> None:
    assert build_plan(3, mode="single") == Plan("single", 3, ((0,), (1,), (2,)))


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


def test_a_window_that_holds_the_whole_group_changes_nothing() -> None:
    assert build_plan(4, window=4, orders=3) == build_plan(4, orders=3)
    assert build_plan(4, window=9) == build_plan(4)


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
    count = places(branches)
    for i in range(n):
        of_i = [count[i, place] for place in range(window)]
        assert max(of_i) - min(of_i) <= 1


def test_pairs_of_two_rounds_hang_together_for_every_seed() -> None:
    # Two perfect matchings of 40 drawn at random hang together in about one case of five.
    assert all(
        is_connected(40, build_plan(40, window=2, orders=2, seed=seed).branches) for seed in range(100)
    )


def test_one_order_stands_for_the_default_number_of_rounds() -> None:
    assert build_plan(12, window=4) == build_plan(12, window=4, orders=DEFAULT_ROUNDS)
    assert len(build_plan(12, window=4).branches) == 3 * DEFAULT_ROUNDS


def test_windows_depend_on_the_seed_and_on_nothing_else() -> None:
    first = build_plan(20, window=4, seed=1)
    random.seed(99)
    build_plan(21, window=4, seed=1)
    assert build_plan(20, window=4, seed=1) == first
    assert build_plan(20, window=4, seed=2) != first


@pytest.mark.parametrize(
    ("mode", "orders", "window", "where"),
    [
        ("single", 2, None, "--orders"),
        ("single", 1, 4, "--window"),
        ("multi", 0, None, "--orders"),
        ("multi", 1, 1, "--window"),
        ("both", 1, None, "--mode"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    mode: str, orders: int, window: int | None, where: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_plan_options(mode, orders, window)
    assert caught.value.where == where
    with pytest.raises(UsageError):
        build_plan(3, mode=mode, orders=orders, window=window)  # type: ignore[arg-type]


def test_options_that_fit_pass() -> None:
    check_plan_options("single", 1, None)
    check_plan_options("multi", 5, 4)


def test_an_empty_group_has_no_plan() -> None:
    with pytest.raises(ValueError, match="at least one response"):
        build_plan(0)


def test_one_branch_keeps_its_scores_bit_for_bit() -> None:
    raw = (0.1, -3.0000001, 1e30)
    assert join(build_plan(3), [raw]) == (raw, None)
    assert join(Plan("multi", 3, ((2, 0, 1),)), [raw]) == ((raw[1], raw[2], raw[0]), None)


def test_single_keeps_raw_values() -> None:
    assert join(build_plan(3, mode="single"), [[0.1], [5.0], [-2.0]]) == ((0.1, 5.0, -2.0), None)


def test_two_orders_worked_by_hand() -> None:
    # Forward: 3 1 2 minus 2 is 1 -1 0. Reversed: 10 12 17 for responses 2 1 0, minus 13 is -3 -1 4.
    scores, spread = join(build_plan(3, orders=2), [[3, 1, 2], [10, 12, 17]])
    assert scores == (2.5, -1.0, -1.5)
    assert spread == (1.5, 0.0, 1.5)


def test_windows_worked_by_hand() -> None:
    # x = (-2, 0, 2) read through offsets 10, -5: the overlap in response 1 ties the two branches together.
    plan = Plan("multi", 3, ((0, 1), (2, 1)))
    scores, spread = join(plan, [[8, 10], [-3, -5]])
    assert scores == pytest.approx((-2, 0, 2), abs=1e-6)
    assert spread == pytest.approx((0, 0, 0), abs=1e-6)


def test_windows_that_disagree_worked_by_hand() -> None:
    # Three pairs say 1 - 0 = 1, 2 - 1 = 1, 2 - 0 = 5: least squares shares the misfit of 3 equally.
    plan = Plan("multi", 3, ((0, 1), (1, 2), (0, 2)))
    scores, spread = join(plan, [[0, 1], [0, 1], [0, 5]])
    assert scores == pytest.approx((-2, 0, 2), abs=1e-6)
    assert spread == pytest.approx((0.5, 0.5, 0.5), abs=1e-6)


@pytest.mark.parametrize(("n", "window", "seed"), WINDOWS[::7])
def test_exact_scores_come_back_through_any_windows(n: int, window: int, seed: int) -> None:
    rng = random.Random(seed)
    truth = [rng.gauss(0, 3) for _ in range(n)]
    plan = build_plan(n, window=window, seed=seed)
    scores, spread = join(
        plan, [[truth[i] + 10 * b for i in branch] for b, branch in enumerate(plan.branches)]
    )
    mean = statistics.mean(truth)
    assert scores == pytest.approx([value - mean for value in truth], abs=1e-4)
    assert spread == pytest.approx([0.0] * n, abs=1e-4)


PLANS = [build_plan(5, orders=4), build_plan(6, orders=3, seed=1), build_plan(9, window=4, seed=2)]


@pytest.mark.parametrize("plan", PLANS, ids=["orders", "seeded orders", "windows"])
def test_a_constant_added_to_a_branch_changes_nothing(plan: Plan) -> None:
    rng = random.Random(0)
    values = [[rng.randrange(-64, 64) / 16 for _ in branch] for branch in plan.branches]
    moved = [[value + 8 * b for value in branch] for b, branch in enumerate(values)]
    for before, after in zip(join(plan, values), join(plan, moved), strict=True):
        assert before == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize("plan", PLANS, ids=["orders", "seeded orders", "windows"])
def test_renaming_the_responses_renames_the_scores(plan: Plan) -> None:
    rng = random.Random(1)
    values = [[rng.gauss(0, 1) for _ in branch] for branch in plan.branches]
    new_name = rng.sample(range(plan.n), plan.n)
    renamed = Plan("multi", plan.n, tuple(tuple(new_name[i] for i in branch) for branch in plan.branches))
    for before, after in zip(join(plan, values), join(renamed, values), strict=True):
        assert before is not None
        assert after is not None
        assert before == pytest.approx([after[new_name[i]] for i in range(plan.n)], abs=1e-5)


def test_joined_scores_sum_to_zero() -> None:
    for plan in PLANS:
        scores, _ = join(plan, [[float(i * i + place) for place, i in enumerate(b)] for b in plan.branches])
        assert sum(scores) == pytest.approx(0, abs=1e-4)


def test_a_bias_for_a_place_cancels_over_a_full_cycle() -> None:
    plan = build_plan(4, orders=4)
    truth, bias = (0.0, 1.0, 2.0, 5.0), (3.0, 0.0, -1.0, -2.0)
    scores, _ = join(plan, [[truth[i] + bias[place] for place, i in enumerate(b)] for b in plan.branches])
    assert scores == (-2.0, -1.0, 0.0, 3.0)


def test_identical_responses_tie_over_symmetric_orders() -> None:
    scores, _ = join(build_plan(2, orders=2), [[0.1, 0.3], [0.1, 0.3]])
    assert scores[0] == scores[1]
    for first, second in combinations(join(build_plan(3, orders=6), [[0.1, 0.3, 0.7]] * 6)[0], 2):
        assert first == second


def test_scores_that_do_not_fit_the_branches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"branches of \[3\]"):
        join(build_plan(3), [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("options", "n", "n_orders"),
    [
        ({}, 4, 1),
        ({"mode": "single"}, 4, 1),
        ({"mode": "single"}, 1, 1),
        ({"orders": 2}, 4, 2),
        ({"orders": 99_999}, 4, 24),
        ({"orders": 4}, 2, 2),
        ({"orders": 4}, 1, 1),
        ({"orders": 5}, 7, 5),
        ({"orders": 5, "window": 4}, 4, 5),
        ({"window": 4}, 9, 3),
        ({"window": 4}, 3, 1),
        ({"orders": 5, "window": 4}, 9, 5),
        ({"orders": 2, "window": 2}, 3, 2),
    ],
)
def test_a_plan_knows_its_orders_or_rounds(options: dict[str, Any], n: int, n_orders: int) -> None:
    assert build_plan(n, **options).n_orders == n_orders


def agreed(plan: Plan, *branch_scores: list[float]) -> float | None:
    return order_agreement(plan, branch_scores, join(plan, branch_scores)[0])


def test_order_agreement_is_the_share_of_the_orders_that_choose_the_joined_best() -> None:
    # Centred and joined: response 0 has 1 + 2 - 1, response 1 has 0 - 1 + 1, response 2 has -1 - 1 + 0.
    plan = Plan("multi", 3, ((0, 1, 2), (2, 0, 1), (1, 2, 0)))
    assert agreed(plan, [6, 5, 4], [9, 12, 9], [1, 0, -1]) == pytest.approx(2 / 3)
    assert agreed(plan, [6, 5, 4], [9, 12, 9], [-1, 0, 1]) == 1.0


def test_orders_may_all_disagree_with_the_best_that_they_agree_on_together() -> None:
    plan = build_plan(3, orders=2)
    assert agreed(plan, [5, 4, 0], [5, 4, 0]) == 0.0  # 0 wins, then 2; the second of both wins in the mean


def test_tied_bests_count_by_their_overlap() -> None:
    both = Plan("multi", 2, ((0, 1), (1, 0)))
    assert agreed(both, [3, 3], [7, 7]) == 1.0  # all tie in every order
    assert agreed(both, [3, 2], [3, 2]) == 0.5  # whoever is first wins, and together they tie
    assert agreed(both, [3, 2], [3, 3]) == 0.75


def test_order_agreement_needs_two_orders_of_the_whole_group() -> None:
    assert agreed(build_plan(3), [1, 2, 3]) is None
    assert agreed(build_plan(2, mode="single"), [1], [2]) is None
    assert agreed(build_plan(1, orders=4), [1]) is None
    windows = build_plan(5, window=2)
    assert agreed(windows, *[[1.0, 0.0]] * len(windows.branches)) is None
    assert agreed(build_plan(2, orders=2, window=2), [1, 0], [0, 1]) == 1.0


def test_full_agreement_is_when_every_order_has_the_same_best() -> None:
    rng = random.Random(3)
    for _ in range(300):
        plan = build_plan(rng.randint(2, 5), orders=rng.randint(2, 6), seed=rng.randrange(9))
        values = [[rng.gauss(0, 1) for _ in branch] for branch in plan.branches]
        bests = {
            branch[max(range(plan.n), key=row.__getitem__)]
            for branch, row in zip(plan.branches, values, strict=True)
        }
        assert (agreed(plan, *values) == 1.0) == (len(bests) == 1)
