"""How the C library hands out memory, where that decides how much a training on a CPU or a run over pictures takes."""

from __future__ import annotations

import ctypes
import platform

M_MMAP_THRESHOLD = -3
"""Its number in glibc's <malloc.h>."""
ACTIVATIONS = 1 << 20
"""Bytes from which recomputed activations are given back."""
PICTURES = 16_000_000
"""Bytes from which pictures are: Pillow holds them in blocks of 16 MiB. What a pass over short texts takes is smaller,
and stays in the heap, where it costs no time to be cleared anew."""


def give_back_large_blocks(n_bytes: int) -> bool:
    """Have glibc give every block of so many bytes or more back to the system as soon as it is freed, in this process.

    By itself it raises that size to 32 MB while a program runs and keeps what is freed in its heap, where it seldom
    finds room for the next tensor: tensors start at multiples of 64 bytes, and a block that was cut out for one is a
    little too short for another of the same size. Recomputed activations then take about as much memory as kept
    ones, and large pictures, one after the other, as much as several. Blocks from the system cost the time to clear
    their pages; figures are in tests/benchmarks/README.md.

    For programs of our own: a host program's memory is its own affair.

    Returns:
        Whether the C library is glibc and took it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, n_bytes))
