"""The losses, against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from yoj_cli.train.losses import LOSSES, bradley_terry, n_way_cross_entropy, plackett_luce


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("ce", math.log(5)), ("plackett-luce", math.log(math.factorial(5))), ("bradley-terry", math.log(2))],
)
def test_equal_scores_cost_what_a_blind_guess_costs(loss, expected):
    assert LOSSES[loss](torch.zeros(5), tensor(3, 1, 2, 5, 4)).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_two_responses_are_bradley_terry_whatever_the_loss(loss):
    found = LOSSES[loss](tensor(1.5, -0.5), tensor(1, 2)).item()
    assert found == pytest.approx(math.log(1 + math.exp(-2.0)))


def test_tied_best_responses_share_the_target():
    total = math.log(math.e + math.e**2 + 1)
    loss = n_way_cross_entropy(tensor(1.0, 2.0, 0.0), tensor(1, 1, 2))
    assert loss.item() == pytest.approx(((total - 1) + (total - 2)) / 2)


def test_cross_entropy_asks_for_the_best_only():
    scores = tensor(1.0, 0.3, -0.2)
    assert n_way_cross_entropy(scores, tensor(1, 2, 3)) == n_way_cross_entropy(scores, tensor(1, 3, 2))
    assert plackett_luce(scores, tensor(1, 2, 3)) < plackett_luce(scores, tensor(1, 3, 2))


def test_plackett_luce_picks_one_after_the_other():
    # Picked in the order 2, 0, 1, with exp(scores) = 2, 1, 4: 4/7, then 2/3, then 1/1.
    scores = tensor(math.log(2), math.log(1), math.log(4))
    assert plackett_luce(scores, tensor(2, 3, 1)).item() == pytest.approx(-math.log(4 / 7 * 2 / 3))


def test_plackett_luce_shares_a_tied_pick_and_leaves_the_last_rank_out():
    # exp(scores) = 2, 1, 4, 1. Rank 1: response 2 of all (4/8). Rank 2: 0 and 3 share one pick of 0, 1, 3:
    # the mean of -log(2/4) and -log(1/4). Rank 3: nothing else is left.
    scores = tensor(math.log(2), 0.0, math.log(4), 0.0)
    expected = -math.log(4 / 8) - (math.log(2 / 4) + math.log(1 / 4)) / 2
    assert plackett_luce(scores, tensor(2, 5, 1, 2)).item() == pytest.approx(expected)


def test_bradley_terry_is_the_mean_over_strict_pairs():
    # Ranks 1, 2, 2: pairs (0 over 1) and (0 over 2); the tie says nothing.
    expected = (math.log(1 + math.exp(-(2.0 - 1.0))) + math.log(1 + math.exp(-(2.0 - 3.0)))) / 2
    assert bradley_terry(tensor(2.0, 1.0, 3.0), tensor(1, 2, 2)).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_only_the_order_of_ranks_counts_and_scores_may_shift(loss):
    scores, shifted = tensor(0.4, -1.0, 2.0), tensor(3.4, 2.0, 5.0)
    assert LOSSES[loss](scores, tensor(1, 3, 2)).item() == pytest.approx(
        LOSSES[loss](shifted, tensor(0.5, 40, 7)).item()
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_lifts_the_best_and_lowers_the_worst(loss):
    scores = torch.zeros(3, requires_grad=True)
    LOSSES[loss](scores, tensor(2, 1, 3)).backward()
    assert scores.grad is not None
    assert scores.grad[1] < 0 < scores.grad[2]
    assert scores.grad.sum().item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", ["plackett-luce", "bradley-terry"])
def test_where_all_tie_there_is_no_loss_and_no_gradient(loss):
    scores = torch.tensor([0.3, -0.3], requires_grad=True)
    found = LOSSES[loss](scores, tensor(1, 1))
    found.backward()
    assert found.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()
