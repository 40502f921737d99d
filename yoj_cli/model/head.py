"""The value head: from the pooled hidden states of a response to its score.

Source: arXiv 2604.10966 and its released code (github.com/yinuoyang01/multi-response-rm, mr2rm/models/reward_model.py):
Linear(input, hidden) -> activation -> Linear(hidden, 1), or Linear(input, 1), and the result divided by sqrt(H), the
backbone's hidden size; that divisor is part of the trained function but not of their config file.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from yoj_cli.config.judge import HeadActivation, HeadType, RespReprMode
from yoj_cli.errors import CheckpointError
from yoj_cli.model.pooling import head_width

ACTIVATIONS: dict[HeadActivation, type[nn.Module]] = {
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}
LARGEST = 1 << 20
"""Far above any hidden size or middle layer; a larger number means a damaged file."""


@dataclass(frozen=True)
class HeadConfig:
    """Shape of a value head, under the official names.

    Attributes:
        value_head_type: "mlp" or "linear".
        value_head_hidden_dim: width of the middle layer; unused by "linear".
        value_head_activation: one of selu, gelu, relu, tanh, silu; unused by "linear".
        value_head_input_dim: width of its input, one vector for each response: the backbone's hidden size H, or 2 H.
        score_divisor: what the raw output is divided by; sqrt(H) where the checkpoint does not say.
        resp_repr_mode: how that vector is pooled from a response's hidden states, see `pooling`.
    """

    value_head_type: HeadType
    value_head_hidden_dim: int
    value_head_activation: HeadActivation
    value_head_input_dim: int
    score_divisor: float
    resp_repr_mode: RespReprMode = "last"

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, where: str) -> HeadConfig:
        """Read `reward_model_config.json`; unknown kinds are refused, never approximated.

        What a file leaves out has the official class's default: a linear head, selu, a middle layer as wide as
        the head's input (also for null and 0), the end token, and sqrt(H).

        Raises:
            CheckpointError: a kind, activation or representation that is none of the official ones, or a number
                that is none.
        """
        try:
            kind = _one_of(raw, "value_head_type", ("linear", "mlp"))
            activation = _one_of(raw, "value_head_activation", tuple(ACTIVATIONS))
            mode = _one_of(raw, "resp_repr_mode", get_args(RespReprMode))
            width = _size(raw, "value_head_input_dim")
            if width is None:
                raise ValueError("value head sizes are missing (value_head_input_dim)")
            if not width or width % head_width(mode, 1):
                raise ValueError(f"value_head_input_dim is {width}, which {mode} cannot give")
            hidden = _size(raw, "value_head_hidden_dim") or width
            divisor = _divisor(raw, width // head_width(mode, 1))
        except ValueError as error:
            raise CheckpointError(str(error), where=where) from error
        return cls(kind, hidden, activation, width, divisor, mode)

    @property
    def hidden_size(self) -> int:
        """H, the hidden size of the backbone it reads."""
        return self.value_head_input_dim // head_width(self.resp_repr_mode, 1)


def _one_of(raw: Mapping[str, Any], name: str, known: Sequence[str]) -> Any:
    """One of some words, the first where the file has none; the official class takes activations in capitals too."""
    value = raw.get(name, known[0])
    found = value.lower() if isinstance(value, str) and name == "value_head_activation" else value
    if not isinstance(found, str) or found not in known:
        raise ValueError(f"{name} is {value!r}; known are {', '.join(known)}")
    return found


def _size(raw: Mapping[str, Any], name: str) -> int | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(f"{name} is {value!r}, which is no size of a layer")
    return value


def _divisor(raw: Mapping[str, Any], hidden_size: int) -> float:
    """The divisor of the official class unless the file has its own."""
    value = raw.get("score_divisor")
    if value is None:
        return math.sqrt(hidden_size)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= sys.float_info.max:
        raise ValueError(f"score_divisor is {value!r}; it must be a positive number, or left out")
    return float(value)


class ValueHead(nn.Module):
    """Scores pooled hidden states, in float32 whatever the backbone computes in."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.value_head_input_dim, config.value_head_hidden_dim
        self.layers: nn.Module = (
            nn.Linear(width, 1)
            if config.value_head_type == "linear"
            else nn.Sequential(
                nn.Linear(width, hidden), ACTIVATIONS[config.value_head_activation](), nn.Linear(hidden, 1)
            )
        )

    def draw_weights(self, std: float) -> None:
        """Start afresh: weights from a normal distribution around 0, biases 0, as the released code does.

        Args:
            std: standard deviation of the weights; 0.01 in the released code.
        """
        for name, parameter in self.layers.named_parameters():
            nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=std)

    def forward(self, hidden: Tensor) -> Tensor:
        """Score responses.

        Args:
            hidden: (..., value_head_input_dim) pooled hidden states, any float dtype.
        Returns:
            (...,) float32 scores.
        """
        # Autocast would compute in half precision, which is coarser than the margins between responses.
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.layers(hidden.float()).squeeze(-1) / self.config.score_divisor
        return scores

    def load_weights(self, state: Mapping[str, Tensor], *, where: str) -> None:
        """Load `0.weight 0.bias 2.weight 2.bias` (mlp) or `weight bias` (linear), all of them checked.

        A head on torch's meta device, which has shapes and no memory, takes over the tensors that it is given.

        Raises:
            CheckpointError: missing, unexpected or misshapen weights.
        """
        wanted = {name: tuple(weight.shape) for name, weight in self.layers.state_dict().items()}
        found = {name: tuple(weight.shape) for name, weight in state.items()}
        if wanted != found:
            raise CheckpointError(
                f"the value head does not fit: expected {wanted}, found {found}",
                where=where,
                hint="reward_model_config.json and the value head must come from the same training run.",
            )
        on_meta = next(self.layers.parameters()).is_meta
        # Copied: the alignment of a weight in a mapped file decides which kernel multiplies it, and so the last digits.
        copies = {name: weight.to(torch.float32, copy=True) for name, weight in state.items()}
        self.layers.load_state_dict(copies, assign=on_meta)
