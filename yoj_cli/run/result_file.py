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
from yoj_cli.run.manifest import path_of
from yoj_cli.storage.writing import aside_of, cannot_be_written, lock

MANY_LINES = 4096
"""So many ends of lines are remembered, of those that are not known to be in the file."""

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
        self._n_written = 0
        self._whole_bytes: list[int] = []
        self.is_whole = True
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
                file: BinaryIO = self.path.open("wb")
            else:
                file = self.path.open("r+b")
                file.truncate(self._keep_bytes)
                file.seek(self._keep_bytes)
            self._n_written = self._keep_bytes or 0
            self._whole_bytes = [self._n_written]
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
        """Write a whole line, or more; if it does not fit on the disk nothing of it stays there.

        Raises:
            OSError: the disk is full, say.
        """
        data = text.encode("utf-8")
        with self._whole_lines():
            self._packed.write(data)
        if not self._packed.is_packing:
            self._n_written += len(data)
            self._whole_bytes.append(self._n_written)
            if len(self._whole_bytes) > MANY_LINES:
                self._forget_lines()
        return len(text)

    def flush(self) -> None:
        """Also begins the file: what has no results is an empty file."""
        with self._whole_lines():
            self._packed.flush()
        if not self._packed.is_packing:
            self._whole_bytes = [self._n_written]

    def commit(self) -> int:
        """See that all that was written lies on the disk; the file's size in bytes."""
        with self._whole_lines():
            self._packed.end_member()
            os.fsync(self._file.fileno())
        self._n_written = self._file.tell()
        self._whole_bytes = [self._n_written]
        return self._n_written

    @contextmanager
    def _whole_lines(self) -> Iterator[None]:
        """Where writing fails, cut off the line (of a packed file: the member) that is there in part, and end."""
        file = self._file  # what cannot be opened is another error
        try:
            yield
        except OSError:
            self._forget_lines()
            try:
                os.ftruncate(file.fileno(), self._whole_bytes[0])
            except OSError:
                self.is_whole = False
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, file.fileno())  # what is still to be flushed
            os.close(nowhere)
            raise

    def _forget_lines(self) -> None:
        """Keep the ends of those lines that may not be in the file as a whole."""
        size = os.fstat(self._file.fileno()).st_size
        n_whole = sum(end <= size for end in self._whole_bytes)
        del self._whole_bytes[: max(n_whole - 1, 0)]

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        if self.is_begun:
            try:
                with self._whole_lines():
                    self._packed.end_member()
            finally:
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
    with lock(path, path_of(path)), ResultFile(path, overwrite=overwrite) as file:
        file.check(resume=resume)
        yield cast(IO[str], file)


def _is_special(path: Path) -> bool:
    with suppress(OSError):
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            return True
    return str(path.absolute()).startswith(STREAMS)


@contextmanager
def open_whole(path: Path, *, overwrite: bool) -> Iterator[IO[str]]:
    """Open a file that is written as a whole: it gets its name, and gives up what it held, at the end of the block.

    Raises:
        UsageError: as `open_result`; or it does not fit on the disk, and then what it held is still there.
    """
    if _is_special(path):
        with open_result(path, overwrite=overwrite) as stream:
            yield stream
        return
    with lock(path):
        earlier = ResultFile(path, overwrite=overwrite)
        earlier.check()
        target = Path(os.path.realpath(path))
        aside = aside_of(target)
        try:
            with aside.open("w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            earlier.check()  # again: it took its time
            aside.replace(target)
        except OSError as error:
            raise cannot_be_written(error, path) from error
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
