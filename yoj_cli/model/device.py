"""The device: which one a judge runs on, how tensors get there, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import DeviceError, OutOfMemoryError
from yoj_cli.model.cgroup import unused_bytes_of_cgroups
from yoj_cli.storage.files import first_line

UNASKED_ON_CPU_BYTES = 1_000_000_000
"""Judges with weight files up to this size run on a CPU without being asked to. The time for a group grows with the
weights: with 8.9 GB of them (Molmo2-4B), a picture and six responses took minutes on two busy cores (docs/speed.md)."""

WAYS_OUT = (
    "`--model demo` runs anywhere and judges drawn scenes only; `--device cpu` is slow: "
    "expect minutes for a picture and six responses with a 4B backbone on two cores."
)
TRAINING_WAYS_OUT = "`--base demo` trains anywhere, on drawn scenes only; `--device cpu` is very slow."


def resolve_device(config: JudgeConfig, n_bytes: int | None, *, ways_out: str = WAYS_OUT) -> torch.device:
    """The device to run on; without a GPU a CPU, where it was asked for or the judge is a small one.

    Args:
        n_bytes: size of the weight files; None where it is unknown, which counts as large.
        ways_out: what the error advises where there is no GPU.
    Raises:
        DeviceError: no such device, with what to do instead.
    """
    has_gpu = torch.cuda.is_available()
    is_small = n_bytes is not None and n_bytes <= UNASKED_ON_CPU_BYTES
    if config.device == "cpu" or (config.device == "auto" and is_small and not has_gpu):
        return torch.device("cpu")
    if not has_gpu and config.device != "auto":
        hint = "Leave it away: a judge of this size runs on the CPU." if is_small else ways_out
        raise DeviceError("no CUDA GPU was found", where=f"--device {config.device}", hint=hint)
    if not has_gpu:
        size = "weights of unknown size" if n_bytes is None else f"{n_bytes / 1e9:.1f} GB of weights"
        raise DeviceError(
            f"no CUDA GPU was found, and {config.model} has {size} "
            f"(over {UNASKED_ON_CPU_BYTES / 1e9:.0f} GB, a CPU has to be asked for)",
            hint=ways_out,
        )
    device = torch.device("cuda" if config.device == "auto" else config.device)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no GPU {device.index}; {torch.cuda.device_count()} found", where="--device"
        )
    return device


def available_bytes(device: torch.device | None = None) -> int:
    """Memory that this process can take without pushing others out, as the system or the GPU's driver says.

    On a CPU also without going over the limit of a container; see `cgroup`.

    Args:
        device: by default the CPU.
    """
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    of_system = int(psutil.virtual_memory().available)
    within_limits = unused_bytes_of_cgroups()
    return of_system if within_limits is None else min(of_system, within_limits)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device, copied asynchronously where that is a GPU.

    From memory that is not pinned, the CPU would wait until the GPU has done all that it was asked for before.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory; torch has a type of error for that on a GPU, and none on a CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("DefaultCPUAllocator", "CUDA error: out of memory"))
    )


@contextmanager
def translate_oom(build: Callable[[], OutOfMemoryError]) -> Iterator[None]:
    """Turn out of memory into the error that `build` gives, and a GPU that stopped working into a DeviceError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise build() from error
        if "CUDA error" in str(error):  # from here on every call fails
            raise DeviceError(
                f"the GPU stopped working: {first_line(error)}",
                hint="Start again; `dmesg` and `nvidia-smi` may say why.",
            ) from error
        raise
