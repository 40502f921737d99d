"""Time and memory of several ways to do the same, on one device."""

from __future__ import annotations

import ctypes
import gc
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

import torch

from yoj_cli.errors import OutOfMemoryError
from yoj_cli.model.device import is_out_of_memory

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MATMUL_SIDE = {"cuda": 8192, "cpu": 1024}


@dataclass
class Timing:
    """What a way took in its turns.

    Attributes:
        first_s: its first call: compilation, caches, the first allocations.
        times_s: each measured call, synchronized.
        found: what the first call returned; None where it did not fit.
        error: why there are no times.
    """

    first_s: float = 0.0
    times_s: list[float] = field(default_factory=list)
    found: Any = None
    error: str | None = None

    @property
    def median_s(self) -> float:
        return median(self.times_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """The first and the third."""
        if len(self.times_s) == 1:
            return self.times_s[0], self.times_s[0]
        low, _, high = quantiles(self.times_s, n=4, method="inclusive")
        return low, high


def take_turns(
    ways: Mapping[str, Callable[[], Any]],
    device: torch.device,
    *,
    warmup: int,
    repeats: int,
    tell: Callable[[str], None],
) -> dict[str, Timing]:
    """Call all ways in turn (A B C, C A B, …), so that a machine that slows down slows all of them.

    Each round has an order of its own: whatever always came after the largest way would always find the caches
    cold. A way that runs out of memory in its first call is left out from then on, and says so.

    Args:
        warmup: rounds after the first call that are not counted.
        repeats: rounds that are, at least 1.
        tell: told what is going on.
    """
    timings = {name: Timing() for name in ways}
    for number in range(1 + warmup + repeats):
        tell(f"round {number + 1} of {1 + warmup + repeats}")
        order = list(ways)
        if number:
            Random(number).shuffle(order)
        for name in order:
            timing = timings[name]
            if timing.error:
                continue
            try:
                seconds, found = _time(ways[name], device)
            except (RuntimeError, OutOfMemoryError) as error:
                if not (isinstance(error, OutOfMemoryError) or is_out_of_memory(error)):
                    raise
                timing.error = "out of memory"
                continue
            if number == 0:
                timing.first_s, timing.found = seconds, found
            elif number > warmup:
                timing.times_s.append(seconds)
    return timings


def _time(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    synchronize(device)
    started = time.perf_counter()
    found = call()
    synchronize(device)
    return time.perf_counter() - started, found


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square product of matrices: what this device reaches, not what its sheet says.

    The best of five after one to warm up.
    """
    side = MATMUL_SIDE[device.type]
    a = torch.randn(side, side, device=device, dtype=dtype)
    best_s = min(_time(lambda: a @ a, device)[0] for _ in range(6))
    return 2 * side**3 / best_s


def memory_method(device: torch.device) -> str | None:
    """How `peak_memory` finds out; None where it cannot."""
    if device.type == "cuda":
        return "torch.cuda.max_memory_allocated after a reset, above what was allocated before the call"
    if CLEAR.exists():
        return "resident high-water mark (VmHWM, reset through clear_refs), above what was resident before the call"
    return None


def peak_memory(call: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes that a call takes at its peak beyond what was held before it; None where they cannot be known.

    A call of its own, not a timed one. On a CPU, freed memory that the allocator keeps is given back first: it
    would be used again, and would not count.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if memory_method(device) is None:
        return None
    _trim()
    try:
        CLEAR.write_text("5")
    except OSError:  # a sandbox that forbids it
        return None
    before = _read_status("VmRSS")
    call()
    return max(0, _read_status("VmHWM") - before)


def _trim() -> None:
    """Have the C library give back what was freed."""
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _read_status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
