"""From the CPU's memory to the device's, without waiting."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device.

    A GPU copies it in its turn, after what it was asked for before; from memory that is not pinned, the CPU would
    wait until then.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
