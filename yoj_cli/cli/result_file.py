"""The file that results go to: never somebody else's results, and never two writers."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, cast

from yoj_cli.errors import UsageError

STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
"""Names of what is open already; where it leads is for the shell that opened it to decide."""


class ResultFile(io.TextIOBase):
    """A text stream into a file that takes its name, or gives up its earlier results, at the first write.

    From then on it is written in place: `tail -f` can follow it, and a crash leaves what was finished.

    Args:
        path: a regular file, or none yet.
        overwrite: whether results that it holds may be replaced.
    """

    encoding = "utf-8"

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path, self._overwrite = path, overwrite

    @cached_property
    def _file(self) -> IO[str]:
        self.check()  # again: loading a judge takes its time
        try:
            return self._path.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise cannot_be_written(error, self._path) from error

    @property
    def is_begun(self) -> bool:
        return "_file" in self.__dict__

    def check(self) -> None:
        """See that the file may be written.

        Raises:
            UsageError: it is a folder, is not writable, or holds something that must not be replaced.
        """
        try:
            found = self._path.stat()
            if found.st_size and not self._overwrite and not stat.S_ISDIR(found.st_mode):
                raise UsageError(
                    "holds results already",
                    where=str(self._path),
                    hint="Give another file, or replace what it holds with --overwrite.",
                )
            with self._path.open("ab"):
                pass
        except FileNotFoundError:
            pass  # whether it can be made shows when its folder takes the lock
        except OSError as error:
            raise cannot_be_written(error, self._path) from error

    def write(self, text: str) -> int:
        return self._file.write(text)

    def flush(self) -> None:
        """Also begins the file: what has no results is an empty file."""
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        if self.is_begun:
            self._file.close()


@contextmanager
def open_result(path: Path, *, overwrite: bool) -> Iterator[IO[str]]:
    """Open a file for results, this process alone until the end; a pipe or device is simply opened.

    Raises:
        UsageError: the file cannot be written, holds results already, or another process writes it.
    """
    if _is_special(path):
        try:
            special = path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise cannot_be_written(error, path) from error
        with special:
            yield special
        return
    with _lock(path), ResultFile(path, overwrite=overwrite) as file:
        file.check()
        yield cast(IO[str], file)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock beside the file; the system gives it up when the process ends, however it ends.

    Raises:
        UsageError: another process holds it, or the folder takes no files.
    """
    from filelock import FileLock, Timeout

    target = Path(os.path.realpath(path))  # two links to one file are one file
    name = target.with_name(f".{target.name}.lock")
    lock = FileLock(name)
    try:
        os.stat(f"{target.parent}/.")  # filelock would make a folder that is not there
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UsageError(
            f"another process{_pid_in(name)} writes its results to this file",
            where=str(path),
            hint="Wait for it, or give another file.",
        ) from error
    except OSError as error:
        raise cannot_be_written(error, path) from error
    try:
        name.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            name.unlink()  # while it is still held; whoever has opened it meanwhile sees that it is gone
        lock.release()


def _pid_in(lock: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        written = lock.read_text(encoding="utf-8").strip()
        if written.isdecimal():
            return f" ({written})"
    return ""


def _is_special(path: Path) -> bool:
    with suppress(OSError):
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            return True
    return str(path.absolute()).startswith(STREAMS)


def cannot_be_written(error: OSError, path: Path) -> UsageError:
    return UsageError(f"cannot be written ({error.strerror or error})", where=str(path))
