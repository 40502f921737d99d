"""How the C library hands out memory, where that decides how much a training on a CPU takes."""

from __future__ import annotations

import ctypes
import platform

M_MMAP_THRESHOLD = -3
"""Its number in glibc's <malloc.h>."""
LARGE_BYTES = 1 << 20


def give_back_large_blocks() -> bool:
    """Have glibc give every block of 1 MB or more back to the system as soon as it is freed, in this process.

    By itself it raises that size to 32 MB while a program runs and keeps what is freed in its heap, where it seldom
    finds room for the next tensor: tensors start at multiples of 64 bytes, and a block that was cut out for one is a
    little too short for another of the same size. Recomputed activations then take about as much memory as kept
    ones. Blocks from the system cost the time to clear their pages; figures are in tests/benchmarks/README.md.

    Returns:
        Whether the C library is glibc and took it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
