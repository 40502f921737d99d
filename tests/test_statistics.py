"""Intervals and tests, against scipy and against numbers worked by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tests.judged import make_judged, pairs
from yoj_cli.evaluate.metrics import Metric, Term, best_of_n, pooled_accuracy
from yoj_cli.evaluate.statistics import compute, mcnemar, smallest_difference, value_of
from yoj_cli.verdicts.intervals import Resamples, wilson


def test_the_interval_is_scipys_percentile_bootstrap() -> None:
    from scipy.stats import bootstrap

    random.seed(1)
    groups = pairs(*(random.random() < 0.7 for _ in range(300)))
    (figure,) = compute([best_of_n(groups)], Resamples([each.cluster for each in groups], n_resamples=8000))
    hits = np.array([each.scores[0] > each.scores[1] for each in groups], dtype=float)
    theirs = bootstrap((hits,), np.mean, n_resamples=8000, method="percentile", random_state=1)
    assert figure.value == hits.mean()
    assert figure.low == pytest.approx(theirs.confidence_interval.low, abs=0.008)
    assert figure.high == pytest.approx(theirs.confidence_interval.high, abs=0.008)


def test_groups_of_one_prompt_are_drawn_together() -> None:
    """Forty prompts of ten equal groups know as much as forty groups."""
    right = [number % 4 > 0 for number in range(40)]
    groups = [
        make_judged((1, 0) if is_right else (0, 1), (1, 2), number=number, cluster=str(number))
        for number, is_right in enumerate(right)
        for _ in range(10)
    ]
    apart = Resamples([str(number) for number in range(400)])
    together = Resamples([each.cluster for each in groups])
    assert (apart.n_clusters, together.n_clusters) == (400, 40)
    (wide,), (narrow,) = compute([best_of_n(groups)], together), compute([best_of_n(groups)], apart)
    assert wide.low is not None
    assert wide.high is not None
    assert narrow.low is not None
    assert narrow.high is not None
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(math.sqrt(10), rel=0.15)


def test_one_prompt_alone_has_no_interval() -> None:
    groups = pairs(True, False, cluster="one")
    (figure,) = compute([best_of_n(groups)], Resamples([each.cluster for each in groups]))
    assert (figure.value, figure.low, figure.high) == (0.5, None, None)


def test_all_right_is_not_certain() -> None:
    """Of 20 prompts: 20 / (20 + 1.96^2) is Wilson's lower end."""
    groups = pairs(*[True] * 20)
    (figure,) = compute([best_of_n(groups)], Resamples([each.cluster for each in groups]))
    assert (figure.value, figure.high) == (1.0, 1.0)
    assert figure.low == pytest.approx(20 / (20 + 1.96**2), abs=1e-4)


def test_the_same_groups_give_the_same_interval_and_any_metric_sees_the_same_draws() -> None:
    groups = pairs(*(number % 3 > 0 for number in range(60)))
    resamples = Resamples([each.cluster for each in groups])
    first, second = compute([best_of_n(groups), pooled_accuracy(groups)], resamples)
    assert (first.low, first.high) == (second.low, second.high)
    assert compute([best_of_n(groups)], resamples)[0] == first


def test_a_term_without_a_case_leaves_its_weight_to_the_others() -> None:
    ones, none = np.ones(4), np.zeros(4)
    metric = Metric("m", (Term("a", 0.5, 0.25 * ones, ones), Term("b", 0.5, none, none)), 4, "groups")
    assert value_of(metric) == 0.25
    assert math.isnan(value_of(Metric("m", (Term("b", 1.0, none, none),), 0, "groups")))


def test_wilson() -> None:
    """8 of 10: 0.4902 to 0.9433 (E. B. Wilson's formula worked by hand)."""
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94331), abs=1e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == 1.0


def test_the_smallest_difference_is_found_in_four_of_five_simulations() -> None:
    difference = smallest_difference(0.6, 200, 200)
    rng = np.random.default_rng(0)
    first, second = (
        rng.binomial(200, 0.6 + difference / 2, 4000),
        rng.binomial(200, 0.6 - difference / 2, 4000),
    )
    p = (first + second) / 400
    z = (first - second) / 200 / np.sqrt(p * (1 - p) * 2 / 200)
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)
    assert math.isnan(smallest_difference(0.5, 0, 10))


def test_mcnemar_is_exact() -> None:
    """One of six: 2 * (1 + 6) / 64."""
    assert mcnemar(1, 5) == pytest.approx(14 / 64)
    assert mcnemar(0, 0) == 1.0
