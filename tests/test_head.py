"""The value head, against a number worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from yoj_cli.errors import CheckpointError
from yoj_cli.judge.head import HeadConfig, ValueHead


def test_the_mlp_is_linear_silu_linear_over_the_divisor():
    head = ValueHead(HeadConfig("mlp", 1, "silu", 2, score_divisor=2.0))
    head.load_weights(
        {
            "0.weight": torch.tensor([[1.0, 2.0]]),
            "0.bias": torch.tensor([0.5]),
            "2.weight": torch.tensor([[3.0]]),
            "2.bias": torch.tensor([-1.0]),
        },
        where="",
    )
    middle = 1.0 * 0.5 + 2.0 * 0.25 + 0.5
    wanted = (3.0 * middle / (1 + math.exp(-middle)) - 1.0) / 2.0
    assert head(torch.tensor([[0.5, 0.25]])).tolist() == pytest.approx([wanted])


def test_a_linear_head_has_its_own_two_weights():
    head = ValueHead(HeadConfig("linear", 0, "silu", 2, score_divisor=1.0))
    head.load_weights({"weight": torch.tensor([[2.0, -1.0]]), "bias": torch.tensor([0.5])}, where="")
    assert head(torch.tensor([1.0, 3.0])).item() == pytest.approx(-0.5)


def test_half_precision_states_are_scored_in_float32():
    head = ValueHead(HeadConfig("mlp", 8, "gelu", 4, score_divisor=2.0))
    assert head(torch.ones(3, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_the_divisor_is_the_root_of_the_width_where_the_file_does_not_say():
    config = HeadConfig.parse({"value_head_input_dim": 64, "value_head_hidden_dim": 8}, where="")
    assert config.score_divisor == 8.0


def test_weights_that_do_not_fit_are_named():
    head = ValueHead(HeadConfig("linear", 0, "silu", 2, score_divisor=1.0))
    with pytest.raises(CheckpointError, match="the value head does not fit"):
        head.load_weights({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, where="head.pt")
