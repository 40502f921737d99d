"""Whether an architecture keeps branches apart, found out by reading with it.

Most of transformers' decoders hand each layer's attention to `attend`, and nothing else mixes tokens. Some compute it
themselves (Falcon), some have convolutions and states beside it or instead (Mamba, Qwen3-Next). Some of those fail on
the plan; in others one branch would be read after another, and the scores would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.errors import ModelError
from yoj_cli.model.attention import build_attention_plan
from yoj_cli.model.device import is_out_of_memory

PREFIX, BRANCH, OTHERS = (1, 2), (3, 4), ((5, 6), (7, 5))
ROUNDING = {torch.float32: 1e-4}
ROUNDING_IN_HALF = 0.01
"""Of a state's largest number: passes of one shape over the same tokens differ by less, also where experts get other
tokens. A branch that is read after another differs by a fifth (Falcon-H1 with random weights of 0.15)."""
KERNELS = 0.1
"""The same for passes of different shapes."""


@dataclass(frozen=True)
class _Row:
    """A prefix and two branches of the same length; see `RowSpans`."""

    n_tokens: int = len(PREFIX) + 2 * len(BRANCH)
    n_prefix: int = len(PREFIX)
    branch_starts: tuple[int, ...] = (len(PREFIX), len(PREFIX) + len(BRANCH))
    branch_lengths: tuple[int, ...] = (len(BRANCH), len(BRANCH))

    @property
    def media_types(self) -> Tensor:
        return torch.zeros(1, self.n_tokens, dtype=torch.long)


@torch.no_grad()
def keeps_branches_apart(model: nn.Module, n_layers: int, device: torch.device) -> bool:
    """Read a branch beside two others and alone: its states must be the same.

    Args:
        model: a text-only decoder with `attend`, in evaluation mode.
        n_layers: its layers, each of which must use the plan.
    """
    alone = _states(model, (*PREFIX, *BRANCH), range(4), device, {})
    found = []
    for other in OTHERS:
        plan = build_attention_plan([_Row()], device, bidirectional_media_attention=False)
        assert plan is not None
        try:
            ids, positions = (*PREFIX, *other, *BRANCH), (0, 1, 2, 3, 2, 3)
            found.append(_states(model, ids, positions, device, plan.arguments))
            plan.check_used(n_layers)
        except (ModelError, RuntimeError, ValueError, TypeError, IndexError) as error:
            if is_out_of_memory(error) or "CUDA error" in str(error):
                raise
            return False  # its own code did not get on with the plan's mask
    largest = float(alone.abs().max())
    apart = float((found[0] - found[1]).abs().max())
    rounding = ROUNDING.get(alone.dtype, ROUNDING_IN_HALF)
    return apart <= rounding * largest and float((found[0] - alone).abs().max()) <= KERNELS * largest


def _states(model: Any, ids: Any, positions: Any, device: torch.device, arguments: dict[str, Any]) -> Tensor:
    """(2, H) the hidden states of the last two tokens."""
    input_ids, position_ids = (torch.tensor([list(each)], device=device) for each in (ids, positions))
    found = model(input_ids=input_ids, position_ids=position_ids, **arguments, use_cache=False)
    states: Tensor = found.last_hidden_state[0, -len(BRANCH) :]
    return states
