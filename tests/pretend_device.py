"""A device that is not there, for tests of what only a GPU would notice.

A far tensor says that it lives on another device, and computes on the CPU. What a GPU refuses (a tensor of the CPU
among its own) is an error here, and what a GPU would be waited for (a number read off it, a shape that depends on
its values, a copy to the CPU) is counted. Far tensors report the device "meta": "cuda" would ask for a driver. So
code that asks for `device.type == "cuda"` takes its other way, and pinned memory, streams and kernels stay untested.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")
"""Operations whose result the CPU has to know before it can go on."""

ASKERS = ("yoj_cli", "tests", "transformers", "peft")

_waits: Counter[tuple[str, str]] = Counter()


class Far(Tensor):
    """A tensor on the pretended device; `near` holds its values."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        far = Tensor._make_wrapper_subclass(
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        far.near = near
        return far

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.near!r})"

    def tolist(self) -> Any:  # torch would ask its storage
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        return _compute(operation, arguments, dict(options or {}))


class _Operations(TorchDispatchMode):
    """What makes tensors out of nothing; Far sees the rest."""

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        return _compute(operation, arguments, dict(options or {}))


class _Factories(TorchFunctionMode):
    """`torch.tensor` of a list: torch makes it on the CPU and copies it, out of sight of the operations."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = dict(options or {})
        if function in (torch.tensor, torch.as_tensor) and options.get("device") is not None:
            device = options.pop("device")
            return function(*arguments, **options).to(device)
        return function(*arguments, **options)


def _compute(operation: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Do on the CPU what was asked for, and say that it is far where a GPU would have it."""
    name = operation.overloadpacket.__name__
    tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    target = None if options.get("device") is None else torch.device(options["device"])
    if far:
        _refuse_a_mix(name, tensors)
    if wait := _wait_of(name, arguments, options, bool(far), target):
        _waits[_asker(), wait] += 1
    if target is not None:
        options["device"] = torch.device("cpu")
    options.pop("pin_memory", None)
    result = operation(*tree_map(_near, arguments), **tree_map(_near, options))
    if target not in (None, DEVICE) or (target is None and not far):
        return result
    own = {id(tensor.near): tensor for tensor in far}  # what is written in place comes back as itself

    def send(value: Any) -> Any:
        return own.get(id(value), Far(value)) if isinstance(value, Tensor) else value

    return arguments[0] if name == "copy_" else tree_map(send, result)


def _wait_of(
    name: str, arguments: Any, options: dict[str, Any], is_far: bool, target: torch.device | None
) -> str | None:
    """What a GPU would be waited for, if it is."""
    if name in ("_to_copy", "copy_"):
        to_far = isinstance(arguments[0], Far) if name == "copy_" else target == DEVICE
        from_far = isinstance(arguments[name == "copy_"], Far)
        # A copy to the device may wait its turn there; one to the CPU is there for what comes next.
        if to_far and not from_far and not options.get("non_blocking") and arguments[0].numel():
            return "copy to the device"
        return "copy to the CPU" if from_far and not to_far and target is not None else None
    if not is_far:
        return None
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        indices = [leaf for leaf in tree_leaves(arguments[1]) if isinstance(leaf, Tensor)]
        return "index by a mask" if any(index.dtype == torch.bool for index in indices) else None
    if name in WAITS or (name == "repeat_interleave" and len(arguments) == 1):
        return "read a value" if name == "_local_scalar_dense" else name
    return None


def _asker() -> str:
    """The package whose line asked for an operation."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != __name__ and module.split(".")[0] in ASKERS:
            return module.split(".")[0]
        frame = frame.f_back  # type: ignore[assignment]
    return "?"


def _near(value: Any) -> Any:
    return value.near if isinstance(value, Far) else value


def _refuse_a_mix(name: str, tensors: list[Tensor]) -> None:
    near = [tensor for tensor in tensors if not isinstance(tensor, Far) and tensor.dim()]
    if near and name not in ("_to_copy", "copy_"):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in near)
        raise RuntimeError(f"{name} was given tensors on the CPU ({shapes}) beside tensors on the device")


@contextlib.contextmanager
def pretended_device() -> Iterator[Counter[tuple[str, str]]]:
    """Make `DEVICE` usable; yields what was waited for since, by the package that asked and the kind of wait.

    Automatic mixed precision is left out: it knows no such device, and what is tested computes in one type.
    """
    _waits.clear()
    autocast, torch.autocast = torch.autocast, lambda *_, **__: contextlib.nullcontext()  # type: ignore[misc,assignment]
    try:
        with _Factories(), _Operations():
            yield _waits
    finally:
        torch.autocast = autocast  # type: ignore[misc]


def moved(module: nn.Module) -> nn.Module:
    """A copy of a module on the CPU, with all its weights and buffers on the pretended device."""
    module = copy.deepcopy(module)
    moved_weights: dict[int, nn.Parameter] = {}  # what is shared stays shared
    for each in module.modules():
        for name, weight in each._parameters.items():
            if weight is not None:
                far = moved_weights.get(id(weight))
                if far is None:
                    far = nn.Parameter(Far(weight.detach()), requires_grad=weight.requires_grad)
                    moved_weights[id(weight)] = far
                each._parameters[name] = far
        for name, buffer in each._buffers.items():
            if buffer is not None:
                each._buffers[name] = Far(buffer)
    return module
