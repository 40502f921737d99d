"""Opening what lies beneath a folder that was opened once: neither a link nor a renaming leads out of it meanwhile."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePath

from yoj_cli.errors import MediaError

FOLDER_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY)
"""A folder on the way need not be readable, as for any other open."""
MAX_ROOTS = 32
"""Of as many folders a descriptor is kept."""
OPENAT2 = 437
RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x04, 0x08


def open_beneath(root: str, path: PurePath, flags: int) -> int:
    """A descriptor of a file or folder beneath a root.

    The path is one in which no link is left: one that came since is an error, not a way out.

    Args:
        root: absolute path of a folder, opened when it is first asked for.
        path: relative to it.
    Raises:
        OSError: what the system says; ELOOP where there is a link on the way.
        MediaError: another folder has taken the root's place since it was opened.
    """
    if os.open not in os.supports_dir_fd:  # Windows
        return os.open(os.path.join(root, path), flags)
    flags |= os.O_CLOEXEC
    with _opened(root) as folder:
        if not path.parts:
            return os.open(".", flags, dir_fd=folder)
        open_by_system = _openat2()
        if open_by_system is not None:
            try:
                return open_by_system(folder, path, flags)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG):
                    raise
        return walk_beneath(folder, path, flags)


def walk_beneath(folder: int, path: PurePath, flags: int) -> int:
    """Folder by folder, because O_NOFOLLOW looks at a path's last part alone; for systems without openat2."""
    if ".." in path.parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
    opened = os.dup(folder)
    try:
        for part in path.parts[:-1]:
            inner = os.open(part, FOLDER_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
            os.close(opened)
            opened = inner
        return os.open(path.parts[-1], flags | os.O_NOFOLLOW, dir_fd=opened)
    finally:
        os.close(opened)


class _Roots:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.handles: dict[str, int] = {}

    def forget(self) -> None:
        """In a forked child: the descriptors are its own, the lock is the parent's."""
        self.lock = threading.Lock()


_roots = _Roots()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_roots.forget)


def close_roots() -> None:
    """Roots are opened anew when they are next asked for."""
    with _roots.lock:
        while _roots.handles:
            os.close(_roots.handles.popitem()[1])


@contextlib.contextmanager
def _opened(root: str) -> Iterator[int]:
    with _roots.lock:
        if root not in _roots.handles:
            if len(_roots.handles) >= MAX_ROOTS:
                os.close(_roots.handles.pop(next(iter(_roots.handles))))
            _roots.handles[root] = os.open(root, FOLDER_FLAGS | os.O_CLOEXEC)
        folder = os.dup(_roots.handles[root])
    try:
        with contextlib.suppress(FileNotFoundError):
            if not os.path.samestat(os.stat(root), os.fstat(folder)):
                raise MediaError(
                    "another folder has taken the place of the media root since it was opened",
                    where=root,
                    hint="Start again; until then nothing is read from either.",
                )
        yield folder
    finally:
        os.close(folder)


@functools.cache
def _openat2() -> Callable[[int, PurePath, int], int] | None:
    """The system's own way (Linux 5.6), which resolves the whole path at once; None where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes

    class How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long

    def open_by_system(folder: int, path: PurePath, flags: int) -> int:
        how = How(flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        handle = syscall(
            ctypes.c_long(OPENAT2),
            ctypes.c_int(folder),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if handle < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
        return int(handle)

    return open_by_system
