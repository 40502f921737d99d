"""What a configuration claims, held against the weights that are there, before anything is allocated for it.

A few bytes of `config.json` can claim 100,000 layers or a vocabulary of 12 million. The files'
headers say what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from yoj_cli.errors import CheckpointError
from yoj_cli.storage.names import MODEL_CONFIG
from yoj_cli.storage.weights import find_weights

COUNTS = (
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers", "depth"),
    *("num_experts", "num_local_experts", "n_routed_experts", "n_shared_experts"),
)
"""Keys whose numbers are of modules, each of which is made in a loop."""
MAX_MODULES = 1024
"""The deepest published decoders have some 130 layers, and the widest 512 experts in each."""
MAX_EXPERTS_IN_ALL = 1 << 16
LARGEST = 1 << 40
"""Of any number in a configuration."""

SPARE_WEIGHTS = 64 << 20
"""What a model may have above its files, 256 MB at most: the weights that are missing are named when it is loaded."""
MAX_BUFFER_BYTES = 512 << 20
"""Of tables that a model makes for itself, rotary frequencies and masks: a few kilobytes in any known one."""


def check_counts(raw: Mapping[str, Any], where: Path) -> None:
    """Refuse numbers of a configuration that no model has; the library would begin to build it.

    Args:
        raw: the JSON object of `config.json`.
        where: the file, for errors.
    Raises:
        CheckpointError: naming the key.
    """
    for key, value in _numbers(raw):
        limit = MAX_MODULES if key in COUNTS else LARGEST
        if abs(value) > limit:
            raise CheckpointError(f"{key} is {value:,}, and the limit is {limit:,}", where=str(where))
    for part in (raw, *(value for value in raw.values() if isinstance(value, dict))):
        counts = [part.get(key) for key in COUNTS]
        layers, experts = (
            max([n for n in own if isinstance(n, int)], default=0) for own in (counts[:7], counts[7:])
        )
        if layers * experts > MAX_EXPERTS_IN_ALL:
            raise CheckpointError(
                f"{layers} layers of {experts} experts each are more than {MAX_EXPERTS_IN_ALL:,}",
                where=str(where),
            )


def _numbers(raw: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number of a JSON value with the key that it is of."""
    if isinstance(raw, Mapping):
        for name, value in raw.items():
            yield from _numbers(value, str(name))
    elif isinstance(raw, list):
        for value in raw:
            yield from _numbers(value, key)
    elif isinstance(raw, int) and not isinstance(raw, bool):
        yield key, raw


def check_claims(model: torch.nn.Module, folder: Path) -> None:
    """Refuse a model that is larger than its files.

    Args:
        model: on the meta device, as its configuration describes it.
        folder: model files; their headers are read, and no weights.
    Raises:
        CheckpointError: it has more weights than the files, or makes too large tables for itself.
    """
    stored = find_weights(folder)
    # Two of the 4-bit weights that are stored quantized share a byte.
    packed = model.config.to_dict().get("quantization_config") is not None  # type: ignore[union-attr,operator]
    held = sum(
        int(torch.Size(weight.shape).numel()) * (2 if packed and weight.dtype in ("U8", "I8") else 1)
        for weight in stored.values()
    )
    claimed = sum(weight.numel() for weight in model.parameters())
    if claimed > held + SPARE_WEIGHTS:
        raise CheckpointError(
            f"it describes {claimed:,} weights, and the files hold {held:,}", where=str(folder / MODEL_CONFIG)
        )
    tables = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if tables > MAX_BUFFER_BYTES:
        raise CheckpointError(
            f"it describes tables of {tables / 1e9:.3g} GB beside the weights",
            where=str(folder / MODEL_CONFIG),
        )
