"""Lines of a file, packed with gzip or Zstandard or not: one way to open them, read or counted anywhere."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from yoj_cli.config.limits import LIMITS
from yoj_cli.errors import InputError
from yoj_cli.records.stores import is_store, open_store

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_START = b"\x1f\x8b"
ZSTD_START = b"\x28\xb5\x2f\xfd"


END_AFTER_BYTES = 16 * LIMITS.max_line_bytes
"""Without a line break for so long, it is no file of lines."""


class Oversized(bytes):
    """The beginning of a line that is over the limit; the rest was passed over."""

    n_bytes: int

    def refusal(self, where: str) -> InputError:
        """What is said of it."""
        return InputError(
            f"the line has {self.n_bytes:,} bytes, more than is read (--max-line-mb)",
            where=where,
            hint="Name pictures by their paths instead of writing them into the line.",
        )


def bounded_lines(stream: IO[bytes], *, max_bytes: int = LIMITS.max_line_bytes, name: str) -> Iterator[bytes]:
    """The lines of a stream, none of which takes more memory than `max_bytes`.

    Raises:
        InputError: there is no line break in END_AFTER_BYTES.
    """
    while line := stream.readline(max_bytes + 1):
        if len(line) <= max_bytes or line.endswith(b"\n"):
            yield line
            continue
        n_bytes, rest = len(line), line
        while not rest.endswith(b"\n") and (rest := stream.readline(1 << 20)):
            n_bytes += len(rest)
            if n_bytes > END_AFTER_BYTES:
                raise InputError(
                    f"has no line break in {END_AFTER_BYTES:,} bytes; it is no file of lines", where=name
                )
        found = Oversized(line[:100])
        found.n_bytes = n_bytes
        yield found


@contextmanager
def open_lines(path: str | Path) -> Iterator[IO[bytes]]:
    """The bytes of a file as a stream to iterate over by lines; unpacked if it begins as gzip or Zstandard does.

    Args:
        path: a file, or an address in an object store.

    Raises:
        InputError: the file cannot be opened or read, or its packing is damaged or cut off.
    """
    try:
        with open_store(str(path)) if is_store(str(path)) else open(path, "rb") as raw:
            yield _unpacked(cast(io.BufferedReader, raw if hasattr(raw, "peek") else io.BufferedReader(raw)))
    except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise InputError(f"the packed file is damaged or cut off: {error}", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


def is_packed(path: str | Path) -> bool:
    """Whether a file is one that `open_lines` unpacks; False for one that cannot be read, or only once (a pipe)."""
    path = Path(path)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(ZSTD_START)).startswith((GZIP_START, ZSTD_START))
    except OSError:
        return False


def _unpacked(raw: io.BufferedReader) -> IO[bytes]:
    start = raw.peek(len(ZSTD_START))
    if start.startswith(GZIP_START):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if start.startswith(ZSTD_START):
        return cast(IO[bytes], zstd.ZstdFile(raw))
    return raw


class PackedWriter:
    """Bytes into a binary file, packed as its name says (.gz, .zst), in members that can each be read without the next.

    Args:
        file: open for writing; not closed here.
        name: of the file that this is written for.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._member: IO[bytes] | None = None

    @property
    def is_packing(self) -> bool:
        """Whether the bytes in the file are others than those that are written."""
        return self._name.endswith((".gz", ".zst"))

    def write(self, data: bytes) -> None:
        if self._member is None:
            self._member = self._begin()
        self._member.write(data)

    def flush(self) -> None:
        """Of what is packed, nothing is handed over before its member ends: every flush would cost compression."""
        self._file.flush()

    def end_member(self) -> None:
        """From here on the bytes so far can be unpacked by themselves."""
        if self._member is not None and self._member is not self._file:
            self._member.close()
        self._member = None
        self._file.flush()

    def _begin(self) -> IO[bytes]:
        if self._name.endswith(".gz"):
            return cast(IO[bytes], gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0))
        if self._name.endswith(".zst"):
            checked: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
            return cast(IO[bytes], zstd.ZstdFile(self._file, mode="wb", options=checked))
        return self._file
