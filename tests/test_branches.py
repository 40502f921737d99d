"""Which options give which branches, and which contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from yoj_cli.errors import UsageError
from yoj_cli.plan.branches import DEFAULT_ROUNDS, Plan, build_plan, check_plan_options


def test_the_paper_reads_all_in_the_order_given_whatever_the_seed() -> None:
    assert build_plan(3) == Plan("multi", 3, ((0, 1, 2),))
    assert build_plan(3, seed=7) == build_plan(3)


def test_single_reads_each_alone() -> None:
    assert build_plan(3, mode="single") == Plan("single", 3, ((0,), (1,), (2,)))


def test_a_window_that_holds_the_whole_group_changes_nothing() -> None:
    assert build_plan(4, window=4, orders=3) == build_plan(4, orders=3)
    assert build_plan(4, window=9) == build_plan(4)


def test_one_order_stands_for_the_default_number_of_rounds() -> None:
    assert build_plan(12, window=4) == build_plan(12, window=4, orders=DEFAULT_ROUNDS)
    assert len(build_plan(12, window=4).branches) == 3 * DEFAULT_ROUNDS


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
