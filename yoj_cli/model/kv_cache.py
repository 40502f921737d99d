"""The KV cache: under which name a backbone takes and returns it, decided here and nowhere else.

transformers 5.24 renamed `past_key_values` to `cache`, in what a model takes and in what it returns; the older name
warns, and goes with 5.40. Code that comes with a checkpoint may keep it for longer.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from torch import nn

NAMES = ("cache", "past_key_values")
"""Newest first."""


class KVCache(NamedTuple):
    """A cache that a forward pass filled, and the argument by which the next pass takes it."""

    argument: str
    states: Any

    @property
    def arguments(self) -> dict[str, Any]:
        """For the backbone's forward."""
        return {self.argument: self.states}


def cache_of(model: nn.Module, output: Any) -> KVCache:
    """The KV cache that a forward pass left.

    Args:
        output: what the model returned (transformers' ModelOutput, which is a mapping).
    """
    returned = next(name for name in NAMES if name in output)
    takes = inspect.signature(model.forward).parameters
    return KVCache(next((name for name in NAMES if name in takes), returned), output[returned])
