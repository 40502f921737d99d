"""Two judges on the same groups."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.judged import FILE, make_judged
from yoj_cli.errors import InputError
from yoj_cli.evaluate.compare import compare
from yoj_cli.evaluate.judged import Judged
from yoj_cli.records.parse import parse


def group(number: int, is_right: bool, *, sure: float = 1.0, **fields: Any) -> Judged:
    record = {"id": number, "prompt": f"question {number}", "responses": ["good", "bad"], "rankings": [1, 2]}
    scores = (sure, 0.0) if is_right else (0.0, sure)
    return make_judged(scores, (1, 2), number=number, group=parse(record), **fields)


def test_the_paired_interval_is_narrower_than_two_apart() -> None:
    """900 of 1,000 groups are judged alike; only the rest tells the two apart."""
    rng = random.Random(0)
    alike = [rng.random() < 0.6 for _ in range(900)]
    first = [group(i, right) for i, right in enumerate([*alike, *[False] * 70, *[True] * 30])]
    second = [group(i, right) for i, right in enumerate([*alike, *[True] * 70, *[False] * 30])]
    found = compare(first, list(reversed(second)), FILE)
    assert (found.n_common, found.only_first_right, found.only_second_right) == (1000, 30, 70)
    best = found.differences[0]
    assert best.difference == pytest.approx(0.04)
    assert best.low is not None
    assert best.high is not None
    assert best.low > 0
    # sqrt((100 - 40^2/1000) / 1000^2) is the paired standard error
    assert (best.high - best.low) == pytest.approx(2 * 1.96 * 0.00992, rel=0.1)
    assert best.p is not None
    assert best.p < 0.01
    assert found.mcnemar_p == pytest.approx(7.85e-05, rel=0.01)  # 2 * P(X <= 30), X ~ B(100, 1/2)


def test_a_judge_against_itself_differs_in_nothing() -> None:
    judged = [group(i, i % 3 > 0) for i in range(30)]
    found = compare(judged, judged, FILE)
    assert [(each.difference, each.low, each.high, each.p) for each in found.differences] == [
        (0, 0, 0, 1)
    ] * 2
    assert (found.mcnemar_p, found.flipped, found.n_same_winner) == (1.0, (), 30)


def test_groups_that_flip_come_with_the_surest_mistake_first() -> None:
    first = [group(1, True), group(2, False, sure=0.1), group(3, False, sure=5), group(4, True)]
    second = [group(1, False, sure=2), group(2, True), group(3, True), group(4, True)]
    found = compare(first, second, FILE)
    assert [(each.id, each.better) for each in found.flipped] == [("3", 2), ("1", 1), ("2", 2)]
    assert (found.flipped[0].first_best, found.flipped[0].second_best) == (1, 0)


def test_groups_of_one_run_only_are_counted_and_left_out() -> None:
    found = compare([group(1, True), group(2, True)], [group(2, False), group(3, True), group(4, True)], FILE)
    assert (found.n_common, found.n_first_only, found.n_second_only) == (1, 1, 2)


def test_the_same_id_with_other_responses_is_another_group() -> None:
    other = parse({"id": 1, "prompt": "question 1", "responses": ["good", "worse"], "rankings": [1, 2]})
    with pytest.raises(InputError, match="no ranked group in common"):
        compare([group(1, True)], [make_judged((1, 0), (1, 2), group=other)], FILE)


def test_categories_are_listed_by_how_much_the_two_differ() -> None:
    first = [group(i, True, category="same" if i < 5 else "worse") for i in range(10)]
    second = [group(i, i < 5, category="same" if i < 5 else "worse") for i in range(10)]
    found = compare(first, second, FILE)
    assert [(each.name, each.difference) for each in found.categories] == [("worse", -1.0), ("same", 0.0)]
