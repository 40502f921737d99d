"""What glibc keeps of freed memory, and what it gives back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import psutil, torch
from yoj_cli.model.allocator import give_back_large_blocks

RAISED_BY_ITSELF = 32 << 20  # where glibc's own adjustment ends
assert give_back_large_blocks(int(sys.argv[1]) or RAISED_BY_ITSELF)
blocks = [torch.ones(1024, 1024) for _ in range(40)]  # 4 MiB each
before = psutil.Process().memory_info().rss
del blocks[::2]  # one of the others stays above each
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_tensors_are_given_back_where_that_was_asked_for():
    from yoj_cli.model.allocator import ACTIVATIONS

    def given_back(n_bytes: int) -> int:
        command = [sys.executable, "-c", SCRIPT, str(n_bytes)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert given_back(0) < 10e6 < 70e6 < given_back(ACTIVATIONS)
