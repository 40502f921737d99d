"""The file that results go to: never somebody else's results, and never two writers."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, cast

from yoj_cli.errors import UsageError
from yoj_cli.records.lines import PackedWriter

STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
"""Names of what is open already; where it leads is for the shell that opened it to decide."""


class ResultFile(io.TextIOBase):
    """A text stream into a file that takes its name, or gives up its earlier results, at the first write.

    From then on it is written in place: `tail -f` can follow it (packed files excepted), and a crash leaves what was
    finished.

    Args:
        path: a regular file, or none yet; packed if its name ends with .gz or .zst.
        overwrite: whether results that it holds may be replaced.
    """

    encoding = "utf-8"

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path, self._overwrite = path, overwrite
        self._keep_bytes: int | None = None
        self.before_first_write: Callable[[], None] = lambda: None

    def go_on_after(self, n_bytes: int) -> None:
        """Keep the first `n_bytes` of what the file holds, and write behind them."""
        self._keep_bytes = n_bytes

    @cached_property
    def _file(self) -> BinaryIO:
        if self._keep_bytes is None:
            self.check()  # again: loading a judge takes its time
        self.before_first_write()
        try:
            if self._keep_bytes is None:
                return self.path.open("wb")
            file = self.path.open("r+b")
            file.truncate(self._keep_bytes)
            file.seek(self._keep_bytes)
            return file
        except OSError as error:
            raise cannot_be_written(error, self.path) from error

    @cached_property
    def _packed(self) -> PackedWriter:
        return PackedWriter(self._file, self.path.name)

    @property
    def is_begun(self) -> bool:
        return "_file" in self.__dict__

    def check(self, *, resume: bool = False) -> None:
        """See that the file may be written.

        Args:
            resume: results that it holds are no objection.
        Raises:
            UsageError: it is a folder, is not writable, or holds something that must not be replaced.
        """
        try:
            found = self.path.stat()
            if found.st_size and not self._overwrite and not resume and not stat.S_ISDIR(found.st_mode):
                raise UsageError(
                    "holds results already",
                    where=str(self.path),
                    hint="Give another file, go on with an unfinished run (--resume), or replace what it holds "
                    "(--overwrite).",
                )
            with self.path.open("ab"):
                pass
        except FileNotFoundError:
            pass  # whether it can be made shows when its folder takes the lock
        except OSError as error:
            raise cannot_be_written(error, self.path) from error

    def write(self, text: str) -> int:
        self._packed.write(text.encode("utf-8"))
        return len(text)

    def flush(self) -> None:
        """Also begins the file: what has no results is an empty file."""
        self._packed.flush()

    def commit(self) -> int:
        """See that all that was written lies on the disk; the file's size in bytes."""
        self._packed.end_member()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        if self.is_begun:
            self._packed.end_member()
            self._file.close()


@contextmanager
def open_result(path: Path, *, overwrite: bool, resume: bool = False) -> Iterator[IO[str]]:
    """Open a file for results, this process alone until the end; a pipe or device is simply opened.

    Args:
        resume: what it holds may be kept and gone on with; whoever writes decides that.
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
        file.check(resume=resume)
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
