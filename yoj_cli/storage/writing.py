"""Files and folders that one process at a time writes, and that appear whole or not at all.

What is written aside is called .NAME.PID beside its NAME. A process that is killed leaves it; whoever next holds the
lock on NAME takes it away.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yoj_cli.errors import UsageError

LOCK = ".lock"
SETTLED_S = 60.0
"""A folder that is younger may not be locked yet by the process that has just made it."""


def aside_of(path: Path) -> Path:
    """Where this process writes what will be `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside and give it its name when it lies on the disk: it is whole at any moment.

    Raises:
        UsageError: it cannot be written; what was there before is still there.
    """
    aside = aside_of(path)
    try:
        with aside.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise cannot_be_written(error, path) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, *others: Path, what: str = "file") -> Iterator[None]:
    """Hold a lock beside a file or folder; the system gives it up when the process ends, however it ends.

    Args:
        others: further files that are written under this lock.
        what: "file" or "folder".
    Raises:
        UsageError: another process holds it, or the folder takes no files.
    """
    from filelock import FileLock, Timeout

    target = Path(os.path.realpath(path))  # two links to one file are one file
    name = target.parent / f".{target.name}.lock"  # also of "/", which has no name
    held = FileLock(name)
    try:
        os.stat(f"{target.parent}/.")  # filelock would make a folder that is not there
        held.acquire(blocking=False)
    except Timeout as error:
        raise UsageError(
            f"another process{_pid_in(name)} writes its results to this {what}",
            where=str(path),
            hint=f"Wait for it, or give another {what}.",
        ) from error
    except OSError as error:
        raise cannot_be_written(error, path) from error
    try:
        with suppress(OSError):  # on a full disk nobody reads who holds it
            name.write_text(str(os.getpid()), encoding="utf-8")
        for each in (target, *others):
            _remove_leftovers(each)
        yield
    finally:
        with suppress(OSError):
            name.unlink()  # while it is still held; whoever has opened it meanwhile sees that it is gone
        held.release()


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder of this process, and the end of those that killed processes have left.

    Whether a process is alive is told by a lock in its folder: numbers of processes mean nothing across containers.
    """
    from filelock import FileLock, Timeout

    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError, Timeout):
            if time.time() - left.stat().st_mtime > SETTLED_S:
                with FileLock(left / LOCK, blocking=False):
                    shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, FileLock(Path(folder, LOCK)):
        yield Path(folder)


def cannot_be_written(error: OSError, path: Path) -> UsageError:
    return UsageError(f"cannot be written ({error.strerror or error})", where=str(path))


def _remove_leftovers(path: Path) -> None:
    """Take away what killed processes have left aside."""
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+")
    with suppress(OSError):
        for each in os.scandir(path.parent):
            if left.fullmatch(each.name):
                if each.is_dir(follow_symlinks=False):
                    shutil.rmtree(each.path, ignore_errors=True)
                else:
                    os.unlink(each.path)


def _pid_in(lock: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        written = lock.read_text(encoding="utf-8").strip()
        if written.isdecimal():
            return f" ({written})"
    return ""
