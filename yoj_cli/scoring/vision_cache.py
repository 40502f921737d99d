"""Vision features: pictures and clips through the vision tower, and a cache for the groups that show them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import send
from yoj_cli.sequence.media_inputs import MediaKey
from yoj_cli.sequence.packed import PackedSequence

CACHE_BYTES = 256 << 20
"""Size of the cache, on the device. A picture of a 4B judge takes some 8 MB in bfloat16."""


@dataclass(frozen=True)
class Features:
    """The vision tower's output for a group's pictures, or for its clips.

    Attributes:
        pooled: (M, H), one row for each of their M tokens.
        deep: (M, H) for each of the first language layers, where it is added (Qwen3-VL's deepstack); empty for others.
    """

    pooled: Tensor
    deep: tuple[Tensor, ...]

    @property
    def n_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.pooled, *self.deep))


Encoded: TypeAlias = dict[str, Features]
"""A group's features, by the kind of medium: "image", "video"."""


def encode(backbone: Backbone, groups: Sequence[Mapping[str, Tensor]]) -> list[Encoded]:
    """Run the vision tower, once for all media of a kind.

    Args:
        groups: the `media_inputs` of each group.
    Returns:
        Features of each group, in the order given.
    """
    encoded: list[Encoded] = [{} for _ in groups]
    for kind, names in backbone.family.encodes.items():
        indices = [index for index, inputs in enumerate(groups) if names[0] in inputs]
        if not indices:
            continue
        own = [{name: groups[index][name] for name in names} for index in indices]
        joined = backbone.family.collate_media(own)
        arguments = {name: send(tensor, backbone.device) for name, tensor in joined.items()}
        found = backbone.run(f"get_{kind}_features", **arguments)
        layers = getattr(found, "deepstack_features", None) or ()
        start = 0
        for index, inputs in zip(indices, own, strict=True):
            end = start + len(inputs[names[-1]])  # the grids: a row for each medium
            encoded[index][kind] = Features(
                torch.cat(found.pooler_output[start:end]),
                tuple(torch.cat(layer[start:end]) for layer in layers),
            )
            start = end
    return encoded


def encoder_outputs(groups: Sequence[Encoded]) -> dict[str, Any]:
    """Features as the models' argument `mm_encoder_outputs`; they fill the media tokens in the order given."""
    outputs: dict[str, Any] = {}
    for kind in dict.fromkeys(kind for group in groups for kind in group):
        own = [group[kind] for group in groups if kind in group]
        outputs[kind] = SimpleNamespace(
            pooler_output=tuple(features.pooled for features in own),
            deepstack_features=list(zip(*(features.deep for features in own), strict=True)),
        )
    return outputs


class VisionFeatureCache:
    """The most recently used features, up to a number of bytes on the device.

    Attributes:
        n_asked: groups whose media were asked for.
        n_encoded: those of them whose media had to be encoded.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.n_asked = self.n_encoded = self.n_bytes = 0
        self._kept: OrderedDict[MediaKey, Encoded] = OrderedDict()

    def encode(self, backbone: Backbone, sequences: Sequence[PackedSequence]) -> list[Encoded]:
        """Features of each group, in the order given; none is encoded twice, nor what is in the cache."""
        keys = [sequence.media_key or ((str(place), ""),) for place, sequence in enumerate(sequences)]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: sequence for key, sequence in zip(keys, sequences, strict=True) if key not in found}
        new = encode(backbone, [sequence.media_inputs for sequence in missing.values()]) if missing else []
        found |= dict(zip(missing, new, strict=True))
        self.n_asked += len(sequences)
        self.n_encoded += len(missing)
        for sequence in sequences:
            if sequence.media_key is not None:
                self._keep(sequence.media_key, found[sequence.media_key])
        return [found[key] for key in keys]

    def clear(self) -> None:
        """Give the memory back."""
        self._kept.clear()
        self.n_bytes = 0

    def _keep(self, key: MediaKey, encoded: Encoded) -> None:
        if key not in self._kept:
            self.n_bytes += _count_bytes(encoded)
        self._kept[key] = encoded
        self._kept.move_to_end(key)
        while self.n_bytes > self.max_bytes:
            self.n_bytes -= _count_bytes(self._kept.popitem(last=False)[1])


def _count_bytes(encoded: Encoded) -> int:
    return sum(features.n_bytes for features in encoded.values())
