"""LoRA as a family's release has it: one adapter for each fused layer, where the decoder holds that layer in parts.

The released code of Molmo2 has one linear layer for query, key and value, and one for the two halves of the MLP. A
LoRA on such a layer is one A (r, in) and one B (out, r): the parts share A, which adds up the gradients of all of
them, and draw one dropout mask. With an A for each part there would be more weights and other steps of the optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.model.backbone import Backbone


def tie_fused(backbone: Backbone) -> None:
    """Let the parts of each fused layer share one A and one dropout mask; a layer adapted only in part stays as it is.

    Args:
        backbone: has a fresh LoRA on it.
    """
    for parts in fused_layers(backbone).values():
        layers: list[Any] = [backbone.model.get_submodule(part) for part in parts]
        mask = _Mask()
        for layer in layers:
            layer.lora_A["default"].weight = layers[0].lora_A["default"].weight
            dropout = layer.lora_dropout["default"]
            if isinstance(dropout, nn.Dropout):
                layer.lora_dropout["default"] = _SharedDropout(dropout.p, mask, len(layers))


def fused_layers(backbone: Backbone) -> dict[str, tuple[str, ...]]:
    """The released layers of which several parts exist and every one has an adapter: released name -> parts."""
    adapted = {
        name.removesuffix(".lora_A") for name, _ in backbone.model.named_modules() if name.endswith(".lora_A")
    }
    found = {}
    for layer in adapted:
        released = backbone.family.released_name(layer)
        parts = backbone.family.layers_of(released)
        if len(parts) > 1 and adapted.issuperset(parts):
            found[released] = parts
    return dict(sorted(found.items()))


def is_tied(backbone: Backbone) -> bool:
    """Whether the adapter is one that the release could hold: every adapted layer whole, with one A for its parts."""
    if backbone.family.released is None:
        return False
    weights = dict(backbone.model.named_parameters(remove_duplicate=False))
    fused = fused_layers(backbone)
    names = [name.removesuffix(A_NAME) for name in weights if name.endswith(A_NAME)]
    for name in names:
        released = backbone.family.released_name(name)
        if released == name or (len(backbone.family.layers_of(released)) > 1 and released not in fused):
            return False
    return all(
        weights[part + A_NAME] is weights[parts[0] + A_NAME] for parts in fused.values() for part in parts
    )


A_NAME, B_NAME = ".lora_A.default.weight", ".lora_B.default.weight"


def fused_weights(backbone: Backbone) -> dict[str, Tensor]:
    """The weights of a tied adapter by the names of the official trainer's files: A (r, in) and B (out, r), whole."""
    weights = dict(backbone.model.named_parameters(remove_duplicate=False))
    found: dict[str, Tensor] = {}
    for name in weights:
        if not name.endswith(A_NAME):
            continue
        released = backbone.family.released_name(name.removesuffix(A_NAME))
        parts: Sequence[str] = backbone.family.layers_of(released)
        key = f"base_model.model.model.{released}"
        found[f"{key}.lora_A.weight"] = weights[parts[0] + A_NAME]
        found[f"{key}.lora_B.weight"] = torch.cat([weights[part + B_NAME] for part in parts])
    return found


@dataclass
class _Mask:
    """One dropout mask, and which parts have used it.

    The parts run one after the other on the same input. The first one draws; a part that comes a second time (the
    next pass, or the same one recomputed for the backward pass) draws anew.
    """

    drawn: Tensor | None = None
    used_by: set[int] = field(default_factory=set)


class _SharedDropout(nn.Dropout):
    """The dropout of one part of a fused layer."""

    def __init__(self, p: float, mask: _Mask, n_parts: int) -> None:
        super().__init__(p)
        self._mask, self._n_parts = mask, n_parts

    def forward(self, input: Tensor) -> Tensor:
        """Drop numbers of the layer's input (..., in), the same for every part."""
        if not self.training:
            return input
        mask = self._mask
        if mask.drawn is None or mask.drawn.shape != input.shape or id(self) in mask.used_by:
            mask.drawn = nn.functional.dropout(torch.ones_like(input), self.p)
            mask.used_by = set()
        dropped = input * mask.drawn
        mask.used_by.add(id(self))
        if len(mask.used_by) == self._n_parts:
            mask.drawn = None
        return dropped
