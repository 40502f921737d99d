"""Calibration of P(best), and risk against coverage, on numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from yoj_cli.evaluate.calibration import measure_calibration, measure_risk
from yoj_cli.verdicts.intervals import Resamples

FIRST, SECOND = (1, 2), (2, 1)


def resamples_of(n: int) -> Resamples:
    return Resamples([str(i) for i in range(n)])


def test_figures_of_three_groups_by_hand() -> None:
    p_best = [(0.9, 0.1), (0.8, 0.2), (0.35, 0.65)]
    found = measure_calibration(p_best, [FIRST, SECOND, SECOND], resamples_of(3))
    assert found.brier.value == pytest.approx((2 * 0.01 + 2 * 0.64 + 2 * 0.35**2) / 3)
    assert found.nll.value == pytest.approx(-(math.log(0.9) + math.log(0.2) + math.log(0.65)) / 3)
    assert found.ece.value == pytest.approx((0.1 + 0.8 + 0.35) / 3)
    assert (found.uniform_brier, found.uniform_nll) == pytest.approx((0.5, math.log(2)))
    assert [(each.n, each.accuracy) for each in found.bins] == [(1, 1.0), (1, 0.0), (1, 1.0)]


def test_tied_best_responses_share_the_target() -> None:
    found = measure_calibration([(0.4, 0.4, 0.2)], [(1, 1, 3)], resamples_of(1))
    assert found.nll.value == pytest.approx(-math.log(0.4))
    assert found.brier.value == pytest.approx(2 * 0.1**2 + 0.2**2)


def test_a_calibrated_judge_has_no_calibration_error_and_an_overconfident_one_has() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 5_000)
    rankings = [FIRST if hit else SECOND for hit in rng.uniform(size=5_000) < sure]
    calibrated = measure_calibration([(p, 1 - p) for p in sure], rankings, resamples_of(5_000))
    assert calibrated.ece.value < 0.02
    always = measure_calibration([(0.99, 0.01)] * 5_000, rankings, resamples_of(5_000))
    assert always.ece.value == pytest.approx(0.24, abs=0.02)
    assert always.ece.low is not None
    assert always.ece.low < always.ece.value


def test_a_probability_of_zero_costs_690_nats_and_not_infinity() -> None:
    assert measure_calibration([(1.0, 0.0)], [SECOND], resamples_of(1)).nll.value == pytest.approx(
        690.8, abs=0.1
    )


def test_risk_falls_where_the_surest_are_answered_first() -> None:
    """Right, right, wrong, wrong by confidence: risks 0, 0, 1/3, 1/2."""
    p_best = [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.6, 0.4)]
    found = measure_risk(p_best, [FIRST, FIRST, SECOND, SECOND], resamples_of(4))
    assert found.aurc.value == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert found.least == found.aurc.value
    assert found.risk == 0.5
    assert [coverage for coverage, _, _ in found.curve] == [0.25, 0.5, 0.75, 1]
    assert [risk for _, risk, _ in found.curve] == pytest.approx([0, 0, 1 / 3, 0.5])
    assert found.risk_at(0.5) == 0


def test_groups_of_equal_confidence_are_answered_together() -> None:
    found = measure_risk([(0.7, 0.3)] * 4, [FIRST, SECOND, SECOND, SECOND], resamples_of(4))
    assert found.aurc.value == found.risk == 0.75
    assert len(found.curve) == 1
