"""Files that have no name and live in memory: what is handed to a decoder's process, and what it gives back."""

from __future__ import annotations

import os
import tempfile

MAX_WRITTEN_BYTES = 1 << 30
"""In one call; the system takes no more than 2 GiB."""


def open_memory_file(data: bytes | None = None, *, may_shrink: bool = False) -> int:
    """A descriptor of a new file that no folder shows; it is gone with its last descriptor, however a process ends.

    Args:
        data: what it holds; reading starts at its beginning.
        may_shrink: it can be cut. Where it cannot, a process may have it mapped whatever another does with it: who
            reads a part that was cut away is killed (SIGBUS).
    """
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("yoj", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        if not may_shrink:
            import fcntl

            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    else:
        handle, name = tempfile.mkstemp(prefix="yoj-")
        os.unlink(name)
    if data is not None:
        try:
            write_at(handle, data, 0)
        except BaseException:
            os.close(handle)
            raise
    return handle


def write_at(handle: int, data: bytes | memoryview, offset: int) -> int:
    """Write all of the data at a place of a file; the descriptor's own position stays.

    Returns:
        Where what was written ends.
    """
    left = memoryview(data).cast("B")
    while left:
        n_written = os.pwrite(handle, left[:MAX_WRITTEN_BYTES], offset)
        left, offset = left[n_written:], offset + n_written
    return offset
