"""The value head: one hidden state in, one score out.

Source: arXiv 2604.10966 and its released code: Linear(H, hidden) -> activation -> Linear(hidden, 1), and
the result divided by sqrt(H); that divisor is part of the trained function but not of their config file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from yoj_cli.errors import CheckpointError

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class HeadConfig:
    """Shape of a value head, under the official names.

    Attributes:
        value_head_type: "mlp" or "linear".
        value_head_hidden_dim: width of the middle layer; unused by "linear".
        value_head_activation: one of silu, gelu, relu, tanh.
        value_head_input_dim: H, the backbone's hidden size.
        score_divisor: what the raw output is divided by; sqrt(H) where the checkpoint does not say.
    """

    value_head_type: Literal["mlp", "linear"]
    value_head_hidden_dim: int
    value_head_activation: str
    value_head_input_dim: int
    score_divisor: float

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, where: str) -> HeadConfig:
        """Read `reward_model_config.json`; unknown kinds are refused, never approximated.

        Raises:
            CheckpointError: a kind, activation or pooling that this version does not implement.
        """
        pooling = raw.get("resp_repr_mode", "last")
        if pooling != "last":
            raise CheckpointError(
                f"resp_repr_mode is {pooling!r}; only 'last' (the response's end token) is implemented",
                where=where,
            )
        kind = raw.get("value_head_type", "mlp")
        if kind not in ("mlp", "linear"):
            raise CheckpointError(f"value_head_type is {kind!r}; known are 'mlp' and 'linear'", where=where)
        activation = raw.get("value_head_activation", "silu")
        if kind == "mlp" and activation not in ACTIVATIONS:
            raise CheckpointError(
                f"value_head_activation is {activation!r}; known are {', '.join(ACTIVATIONS)}", where=where
            )
        try:
            width = int(raw["value_head_input_dim"])
            hidden = int(raw.get("value_head_hidden_dim") or 0)
            divisor = float(raw.get("score_divisor") or math.sqrt(width))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"value head sizes are missing or no numbers ({error})", where=where
            ) from error
        return cls(kind, hidden, activation, width, divisor)


class ValueHead(nn.Module):
    """Scores hidden states in float32 whatever the backbone computes in."""

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

    def forward(self, hidden: Tensor) -> Tensor:
        """Score hidden states.

        Args:
            hidden: (..., H) any float dtype.
        Returns:
            (...,) float32 scores.
        """
        # Autocast would run the two small matrices in half precision and lose the margins between responses.
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.layers(hidden.float()).squeeze(-1) / self.config.score_divisor
        return scores

    def load_weights(self, state: Mapping[str, Tensor], *, where: str) -> None:
        """Load `0.weight 0.bias 2.weight 2.bias` (mlp) or `weight bias` (linear), all of them checked.

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
        self.layers.load_state_dict(dict(state))
