"""The device's refusal of memory, as an error that says what it was for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from yoj_cli.errors import DeviceError, OutOfMemoryError
from yoj_cli.storage.files import first_line


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused; torch has a type of error for a GPU that does, and none for a CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("DefaultCPUAllocator", "CUDA error: out of memory"))
    )


@contextmanager
def translate_oom(build: Callable[[], OutOfMemoryError]) -> Iterator[None]:
    """Turn the device's refusal of memory into an error that says what it was for, and its end into a DeviceError."""
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
