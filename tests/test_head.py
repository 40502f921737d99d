"""The value head, against a number worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from yoj_cli.errors import CheckpointError
from yoj_cli.model.head import HeadConfig, ValueHead


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


OFFICIAL = {"value_head_input_dim": 8, "value_head_type": "mlp", "value_head_activation": "silu"}


def test_a_middle_layer_without_a_width_is_as_wide_as_the_heads_input():
    assert HeadConfig.parse(OFFICIAL | {"value_head_hidden_dim": None}, where="").value_head_hidden_dim == 8


def test_a_head_that_reads_two_states_is_divided_by_the_root_of_one():
    config = HeadConfig.parse(OFFICIAL | {"resp_repr_mode": "first_last_concat"}, where="")
    assert (config.hidden_size, config.value_head_hidden_dim, config.score_divisor) == (4, 8, 2.0)


def test_what_a_file_leaves_out_is_what_the_official_class_takes():
    config = HeadConfig.parse({"value_head_input_dim": 4}, where="")
    assert config == HeadConfig("linear", 4, "selu", 4, 2.0, "last")


@pytest.mark.parametrize("activation", ["selu", "gelu", "relu", "tanh", "silu", "SiLU"])
def test_every_official_activation_is_read(activation):
    config = HeadConfig.parse(OFFICIAL | {"value_head_activation": activation}, where="")
    assert ValueHead(config)(torch.ones(8)).isfinite()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("score_divisor", value) for value in (0, -1, -0.5, math.nan, math.inf, 10**400, True, "8", [8])],
        *[("value_head_hidden_dim", value) for value in (-1, 1.5, True, "32", 10**15, math.nan)],
        *[("value_head_input_dim", value) for value in (0, -8, 8.0, True, "8", 10**15)],
        *[("value_head_type", value) for value in (None, 1, ["mlp"])],
        *[("value_head_activation", value) for value in (None, 1, "swish")],
        *[("resp_repr_mode", value) for value in (None, 1, "mean", "LAST", {})],
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_name(name, value):
    with pytest.raises(CheckpointError, match=f"here.json: {name} is "):
        HeadConfig.parse(OFFICIAL | {name: value}, where="here.json")


def test_a_concatenation_of_an_odd_width_is_refused():
    odd = OFFICIAL | {"resp_repr_mode": "first_last_concat", "value_head_input_dim": 7}
    with pytest.raises(
        CheckpointError, match="value_head_input_dim is 7, which first_last_concat cannot give"
    ):
        HeadConfig.parse(odd, where="here.json")
