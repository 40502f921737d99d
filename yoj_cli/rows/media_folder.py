"""Pictures and clips as files named after what they hold, so that one picture of many rows is one file."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from yoj_cli.errors import InputError, UsageError

MAX_FILE_BYTES = 4 << 30
CHUNK_BYTES = 1 << 20
MAX_FRAMES = 100_000
N_DIGITS = 32

STARTS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF87a": ".gif",
    b"GIF89a": ".gif",
    b"BM": ".bmp",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
    b"\x1a\x45\xdf\xa3": ".mkv",
    b"\x00\x00\x01\xba": ".mpg",
    b"\x00\x00\x01\xb3": ".mpg",
}
"""First bytes -> ending."""

BRANDS = {
    b"avif": ".avif",
    b"avis": ".avif",
    b"heic": ".heic",
    b"heix": ".heic",
    b"mif1": ".heic",
    b"qt  ": ".mov",
}
"""Brands of ISO media files that are no .mp4."""


def default_folder() -> Path:
    """Where pictures are kept that only a benchmark's rows hold: ~/.cache/yoj/media (or under XDG_CACHE_HOME)."""
    start = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(start) / "yoj" / "media"


def ending_of(start: bytes) -> str | None:
    """The ending of a picture or clip, by its first bytes; None for anything else.

    Args:
        start: at least 12 bytes where there are as many.
    """
    if start[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(start[8:12])
    if start[4:8] == b"ftyp":
        return BRANDS.get(start[8:12], ".mp4")
    return next((ending for known, ending in STARTS.items() if start.startswith(known)), None)


class MediaFolder:
    """A folder that is made at the first file.

    Args:
        path: of the folder.
        prefix: what stands before a file's name in a record; the folder's absolute path by default.
    """

    def __init__(self, path: Path, *, prefix: str | None = None) -> None:
        self.path = path
        self._prefix = str(path.absolute()) if prefix is None else prefix
        self._new: list[Path] = []

    @property
    def n_files(self) -> int:
        """Pictures, clips and folders of frames that were not there before."""
        return len(self._new)

    def mark(self) -> int:
        """For `undo`: what is kept from here on can be taken back."""
        return len(self._new)

    def undo(self, mark: int) -> None:
        """Remove what was new since then: its group was dropped."""
        for path in self._new[mark:]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        del self._new[mark:]

    def save_bytes(self, content: bytes, where: str) -> str:
        return self.save(io.BytesIO(content), where)

    def save(self, stream: BinaryIO, where: str) -> str:
        """Keep a picture or clip; the path of its file, as records name it.

        Raises:
            InputError: it is neither, or too large.
            UsageError: the folder cannot be written.
        """
        temporary, digest, ending = self._copy(stream, where)
        return self._named(temporary, digest + ending)

    def save_frames(self, frames: Iterable[BinaryIO], where: str) -> str:
        """Keep the pictures of a clip in a folder, numbered in their order; the folder's path."""
        whole = hashlib.sha256()
        names: list[tuple[str, str]] = []
        try:
            for number, frame in enumerate(frames):
                if number >= MAX_FRAMES:
                    raise InputError(f"the clip has more than {MAX_FRAMES:,} frames", where=where)
                temporary, digest, ending = self._copy(frame, where)
                names.append((temporary, f"{number:06}{ending}"))
                whole.update(digest.encode())
            folder = self.path / f"frames-{whole.hexdigest()[:N_DIGITS]}"
            if not folder.is_dir():
                folder.mkdir()
                self._new.append(folder)
                for temporary, name in names:
                    os.chmod(temporary, 0o666 & ~_umask())
                    os.replace(temporary, folder / name)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            for temporary, _ in names:
                Path(temporary).unlink(missing_ok=True)
        return "/".join(filter(None, [self._prefix, folder.name]))

    def _copy(self, stream: BinaryIO, where: str) -> tuple[str, str, str]:
        """Into a temporary file in the folder; its path, the content's digest and ending."""
        start = stream.read(CHUNK_BYTES)
        ending = ending_of(start)
        if ending is None:
            what = "empty" if not start else "neither a picture nor a clip that is known"
            raise InputError(f"the file is {what}", where=where)
        digest, n_bytes, chunk = hashlib.sha256(), 0, start
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".yoj-", dir=self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            with os.fdopen(handle, "wb") as file:
                while chunk:
                    n_bytes += len(chunk)
                    if n_bytes > MAX_FILE_BYTES:
                        raise InputError(f"the file is larger than {MAX_FILE_BYTES >> 30} GiB", where=where)
                    digest.update(chunk)
                    file.write(chunk)
                    chunk = stream.read(CHUNK_BYTES)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return temporary, digest.hexdigest()[:N_DIGITS], ending

    def _named(self, temporary: str, name: str) -> str:
        try:
            if (self.path / name).is_file():
                os.unlink(temporary)
            else:
                os.chmod(temporary, 0o666 & ~_umask())
                os.replace(temporary, self.path / name)
                self._new.append(self.path / name)
        except OSError as error:
            raise self._unwritable(error) from error
        return "/".join(filter(None, [self._prefix, name]))

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"cannot be written ({error.strerror or error})", where=str(self.path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
