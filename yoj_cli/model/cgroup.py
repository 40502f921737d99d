"""Memory that a container's limit leaves, which the system's own figure of free memory does not know of.

Linux keeps processes in control groups, a tree; each may have a limit, which holds for everything beneath it. Version 2
has one tree with `memory.max` and `memory.current`; version 1 has one for memory alone, with `memory.limit_in_bytes`
and `memory.usage_in_bytes`. https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/memory.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def unused_bytes_of_cgroups(process: Path = PROCESS, mount: Path = MOUNT) -> int | None:
    """Bytes that the limits of this process's control groups leave, the least of all levels; None without a limit.

    What is used counts without files that were read and are no longer needed (`inactive_file`): they make room when
    memory is asked for.

    Args:
        process: file that names the groups, a line `number:controllers:/path` each.
        mount: where the trees are.
    """
    left = [_unused_bytes(*level) for level in _levels(process, mount)]
    return min((n_bytes for n_bytes in left if n_bytes is not None), default=None)


def _levels(process: Path, mount: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Folders from a group up to the root of its tree, with the names of limit, usage and the files' share there."""
    try:
        lines = process.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = mount, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = mount / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may be the host's, and the container's own group is mounted as the root.
        inner = PurePosixPath(*(part for part in PurePosixPath(path).parts if part not in ("/", "..")))
        for folder in (inner, *inner.parents):
            yield root / folder, *names


def _unused_bytes(folder: Path, limit: str, usage: str, files: str) -> int | None:
    """Bytes that one group's limit leaves; None where it has none, or is not there."""
    try:
        most = (folder / limit).read_text(encoding="ascii").strip()
        if most == "max":
            return None
        used = int((folder / usage).read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        given_back = dict(line.split() for line in stat).get(files, 0)
        return max(int(most) - max(used - int(given_back), 0), 0)
    except (OSError, ValueError):
        return None
