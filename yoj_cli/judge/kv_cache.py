"""What a backbone calls its KV cache, decided here and nowhere else.

transformers 5.24 renamed `past_key_values` to `cache`, in what a model takes and in what it returns; the older name
warns, and goes with 5.40. Code that comes with a checkpoint may keep it for longer.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

NAMES = ("cache", "past_key_values")
"""Newest first."""


def cache_argument(model: nn.Module, cache: Any) -> dict[str, Any]:
    """A KV cache as an argument of the model's forward pass."""
    taken = inspect.signature(type(model).forward).parameters
    return {next((name for name in NAMES if name in taken), NAMES[0]): cache}


def cache_of(output: Any) -> Any:
    """The KV cache among what a forward pass returned (a transformers ModelOutput, a mapping of what it holds)."""
    return output[next((name for name in NAMES if name in output), NAMES[0])]
