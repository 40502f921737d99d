"""Scores of all branches to one per response, worked by hand and by what must not change them."""

from __future__ import annotations

import random
import statistics
from itertools import combinations, product

import pytest

from yoj_cli.plan.branches import Plan, build_plan
from yoj_cli.plan.join import join, order_agreement

WINDOWS = list(product((9, 12, 13, 24, 50), (2, 4, 5, 8), (0, 1)))


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


@pytest.mark.parametrize(("n", "window", "seed"), WINDOWS)
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
