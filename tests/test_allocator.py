"""What glibc keeps of freed memory, and what it gives back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import psutil, torch
from yoj_cli.model.allocator import ACTIVATIONS, give_back_large_blocks

if sys.argv[1] == "asked":
    assert give_back_large_blocks(ACTIVATIONS)
held = []
for _ in range(12):  # a freed tensor of 4 MB behind each small one that stays
    large = torch.ones(1024, 1024)
    held.append(torch.ones(16_384))
    del large
before = psutil.Process().memory_info().rss
blocks = [torch.ones(1024, 1024) for _ in range(40)]
held += [torch.ones(16_384)]  # above them in the heap
del blocks
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_tensors_are_given_back_where_that_was_asked_for():
    def left(how: str) -> int:
        command = [sys.executable, "-c", SCRIPT, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert left("asked") < 20e6 < 100e6 < left("as it is")
