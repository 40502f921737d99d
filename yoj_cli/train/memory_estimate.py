"""About how much memory a training run will take, from sizes alone: no weight is loaded for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from yoj_cli.config.train import TrainConfig
from yoj_cli.model.adapter_layers import language_linears, target_names
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.pooling import head_width

BYTES_PER_WEIGHT = {"4bit": 0.5 + 4 / 64, "8bit": 1.0}
"""NF4 keeps one float32 scale for every 64 weights."""
TRAINED_BYTES = 4 + 4 + 8
"""Weight, gradient and Adam's two moments, all float32."""


LEFT_OUT = (
    "the copy of a weight while it loads, what the vision tower holds while it reads, attention where it "
    "keeps branches apart, and what the allocator keeps"
)


def held_by_this_process() -> int:
    """Bytes of memory that this process has in use."""
    import psutil

    return int(psutil.Process().memory_info().rss)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes.

    Attributes:
        weights: the frozen backbone, and one layer's weights dequantized.
        trained: adapter and head with gradients and optimizer state.
        activations: what the backward pass over the most tokens needs.
        n_tokens: so many.
        process: what this process holds already, the libraries above all; 0 where the model is on a GPU.
        media: pictures and clips of a step, which are read ahead; 0 where the model is on a GPU.
    """

    weights: int
    trained: int
    activations: int
    n_tokens: int
    process: int = 0
    media: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.trained + self.activations + self.process + self.media


def estimate_memory(
    backbone: Backbone,
    config: TrainConfig,
    dtype: torch.dtype,
    n_tokens: int,
    *,
    process: int = 0,
    media: int = 0,
) -> MemoryEstimate:
    """What a run takes; see LEFT_OUT for what is not counted.

    Args:
        backbone: may be on the meta device: only shapes are read.
        dtype: what the backbone computes in.
        n_tokens: of the longest pass, padding included.
        process: what the process holds already.
        media: bytes of the pictures and clips of a step.

    The activations of one layer are what its linear layers keep: each its input and its adapter's, and the
    attention its three inputs and output; a quarter more is allowed for norms and products. With gradient
    checkpointing only the layers' inputs are kept, and one layer's activations at a time.
    """
    linears = language_linears(backbone)
    size = dtype.itemsize
    n_all = sum(parameter.numel() for parameter in backbone.model.parameters())
    n_linear = sum(linear.weight.numel() for linear in linears.values())
    design = config.design
    width = head_width(design.resp_repr_mode, backbone.hidden_size)
    n_head = design.head_dim * (width + 2) if design.head_type == "mlp" else width
    n_lora = count_adapter(backbone, config)
    n_layers = backbone.n_layers
    kept = sum(_kept_per_token(each, design.lora_r, size) for each in linears.values())
    per_layer = 1.25 * n_tokens * kept / n_layers
    inputs = n_tokens * backbone.hidden_size * size
    activations = inputs * n_layers + per_layer if config.gradient_checkpointing else per_layer * n_layers
    stored = BYTES_PER_WEIGHT.get(config.quant)
    dequantized = max(linear.weight.numel() for linear in linears.values()) * size if stored else 0
    return MemoryEstimate(
        weights=int((n_all - n_linear) * size + n_linear * (stored or size)) + dequantized,
        trained=TRAINED_BYTES * (n_lora + n_head),
        activations=int(activations),
        n_tokens=n_tokens,
        process=process,
        media=media,
    )


def count_adapter(backbone: Backbone, config: TrainConfig) -> int:
    """Weights of the recipe's LoRA on a backbone that has none yet."""
    design = config.design
    names = target_names(backbone, design.lora_targets)
    linears = {
        name: each for name, each in language_linears(backbone).items() if name.rpartition(".")[2] in names
    }
    wide = dict(linears)  # those with an A of their own
    for name in linears:
        parts = backbone.family.layers_of(backbone.family.released_name(name))
        if design.tie_lora and name in parts[1:] and linears.keys() >= set(parts):
            del wide[name]
    n_a = sum(each.in_features for each in wide.values())
    return design.lora_r * (n_a + sum(each.out_features for each in linears.values()))


def _kept_per_token(linear: nn.Linear, rank: int, size: int) -> int:
    """Bytes that one adapted linear layer keeps for each token: input, dropped-out float32 input, r numbers, output."""
    return linear.in_features * (size + 4) + 4 * rank + linear.out_features * size
