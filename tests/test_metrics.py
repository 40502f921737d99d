"""Metrics against numbers worked by hand."""

from __future__ import annotations

import pytest

from tests.judged import make_judged, pairs
from yoj_cli.evaluate.metrics import (
    accuracy_plus,
    best_of_n,
    first_wins,
    longest_wins,
    macro_accuracy,
    mean_tau,
    pooled_accuracy,
)
from yoj_cli.evaluate.statistics import value_of


def test_best_of_n_shares_the_hit_among_those_that_tie_at_the_top() -> None:
    groups = [
        make_judged((3, 1, 1, 1), (1, 2, 3, 4), number=1),
        make_judged((2, 2, 1, 1), (1, 2, 3, 4), number=2),
        make_judged((0, 1, 1, 1), (1, 2, 3, 4), number=3),
    ]
    metric = best_of_n(groups)
    assert value_of(metric) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert (metric.n, metric.counted, metric.n_ties) == (3, "groups", 2)


def test_a_tied_pair_is_wrong_and_counted() -> None:
    metric = pooled_accuracy([*pairs(True, True, False), make_judged((1, 1), (1, 2), number=9)])
    assert value_of(metric) == 2 / 4
    assert (metric.n, metric.n_ties) == (4, 1)


def test_pooled_accuracy_counts_pairs_and_macro_counts_categories() -> None:
    many = pairs(True, True, True, False, category="many")
    few = pairs(False, category="few")
    assert value_of(pooled_accuracy([*many, *few])) == 3 / 5
    metric = macro_accuracy([*many, *few])
    assert value_of(metric) == (3 / 4 + 0) / 2
    assert [(term.name, term.weight) for term in metric.terms] == [("few", 0.5), ("many", 0.5)]


def test_accuracy_plus_wants_all_pairs_of_a_prompt() -> None:
    groups = [
        *pairs(True, True, cluster="all right"),
        *pairs(True, False, cluster="one wrong"),
        *pairs(True, cluster="single"),
    ]
    metric = accuracy_plus(groups)
    assert value_of(metric) == 2 / 3
    assert (metric.n, metric.counted) == (3, "prompts")


def test_tau_is_a_mean_over_groups() -> None:
    groups = [make_judged((3, 2, 1), (1, 2, 3), number=1), make_judged((2, 3, 1), (1, 2, 3), number=2)]
    assert value_of(mean_tau(groups)) == pytest.approx((1 + 1 / 3) / 2)


def test_groups_whose_ranking_says_nothing_are_in_no_figure() -> None:
    metric = best_of_n([make_judged((1, 0), (1, 1)), *pairs(True)])
    assert (value_of(metric), metric.n) == (1.0, 1)


def test_baselines_take_the_longest_and_what_the_file_has_first() -> None:
    groups = [
        make_judged((0, 1), (1, 2), number=1, lengths=(5, 90)),
        make_judged((0, 1), (2, 1), number=2, lengths=(5, 90)),
        make_judged((0, 1), (1, 2), number=3, lengths=(90, 5)),
    ]
    assert value_of(pooled_accuracy(longest_wins(groups))) == 2 / 3
    assert value_of(pooled_accuracy(first_wins(groups))) == 2 / 3
    assert [each.scores for each in first_wins(groups)] == [(0.0, -1.0)] * 3
