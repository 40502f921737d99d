"""The files of a data set by their names: a folder, or a zip file that is never unpacked as a whole.

A row's path and a zip member's name are strangers' texts. They are only ever compared with the names listed here;
no file is written under one of them.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from yoj_cli.errors import InputError
from yoj_cli.groups import Media
from yoj_cli.media.files import open_file, resolve

MAX_MEMBER_BYTES = 64 << 30
"""Unpacked size of one file in a zip, as it declares and as zipfile enforces."""

MAX_UNPACKED_BYTES = 512 << 30
"""Of all files that are read from one zip, in one run."""

MAX_RATIO = 200
"""Unpacked by packed size of a file that unpacks to more than MIN_BOMB_BYTES; text packs to about 10."""

MIN_BOMB_BYTES = 256 << 20


class Tree(Protocol):
    """Files by name: relative, with "/" between folders."""

    @property
    def where(self) -> str:
        """The folder or zip file, for errors."""

    @property
    def names(self) -> frozenset[str]:
        """All files."""

    def has(self, name: str) -> bool:
        """Whether it is one of them."""

    def list_folder(self, name: str) -> list[str]:
        """The files right inside a folder, numbers in their names by value; [] where there is none."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """One of them as a stream of bytes."""


class Folder:
    """A folder's files.

    Args:
        root: the folder.
        within: what a link in it must not lead out of; the folder itself by default. The Hub's cache keeps a
            snapshot's files as links to a folder beside it.
        only: the only file that counts; None for all.
    """

    def __init__(self, root: Path, *, within: Path | None = None, only: str | None = None) -> None:
        self.root, self.within, self._only = root, within or root, only

    @property
    def where(self) -> str:
        return str(self.root)

    @cached_property
    def names(self) -> frozenset[str]:
        if self._only is not None:
            return frozenset([self._only])
        found = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            start = Path(folder).relative_to(self.root).as_posix()
            found += [name if start == "." else f"{start}/{name}" for name in files if name[0] != "."]
        return frozenset(found)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def list_folder(self, name: str) -> list[str]:
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(
            (f"{name}/{path.name}" for path in folder.iterdir() if path.is_file()), key=_natural_key
        )

    def path_of(self, name: str) -> str:
        """The absolute path of a file or folder.

        Raises:
            MediaError: a link leads out of the data set.
        """
        path = os.path.abspath(self.root / name)
        resolve(Media("image", name, path=path, root=os.path.abspath(self.within)))
        return path

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        path = os.path.abspath(self.root / name)
        with open_file(Media("image", name, path=path, root=os.path.abspath(self.within))) as file:
            yield file


class Zip:
    """The files in a zip.

    Raises:
        InputError: it is none, or holds more than the budget.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_unpacked_bytes = 0
        with self._errors(""):
            self._zip = zipfile.ZipFile(path)
        self._members = {each.filename: each for each in self._zip.infolist() if not each.is_dir()}

    @property
    def where(self) -> str:
        return str(self._path)

    @property
    def stem(self) -> str:
        return self._path.stem

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self._members)

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        folders: dict[str, list[str]] = defaultdict(list)
        for name in self._members:
            folders[name.rpartition("/")[0]].append(name)
        return dict(folders)

    def has(self, name: str) -> bool:
        return name in self._members

    def list_folder(self, name: str) -> list[str]:
        return sorted(self._folders.get(name, ()), key=_natural_key)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        member = self._members[name]
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > MAX_MEMBER_BYTES or (member.file_size > MIN_BOMB_BYTES and ratio > MAX_RATIO):
            raise InputError(
                f"unpacks to {member.file_size:,} bytes from {member.compress_size:,}, which no data set does",
                where=f"{self._path}:{name}",
            )
        self._n_unpacked_bytes += member.file_size
        if self._n_unpacked_bytes > MAX_UNPACKED_BYTES:
            raise InputError(
                f"unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB",
                where=str(self._path),
                hint="Unpack it yourself if you trust it, and give the folder.",
            )
        with self._errors(name), self._zip.open(member) as stream:
            yield cast(BinaryIO, stream)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        where = f"{self._path}:{name}" if name else str(self._path)
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(f"the zip is damaged: {error}", where=where, hint="Get it again.") from error
        except (
            NotImplementedError,
            RuntimeError,
        ) as error:  # a packing that Python does not know; a password
            raise InputError(f"the zip cannot be unpacked: {error}", where=where) from error
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror or error})", where=where) from error


def clean_name(name: str) -> str:
    """A row's path as a name in a tree.

    Raises:
        InputError: it is absolute, or leads out of the data set.
    """
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if not parts or plain.startswith("/") or ".." in parts or "\0" in plain or plain[1:2] == ":":
        raise InputError(
            "this path does not stay inside the data set",
            where=repr(name[:200]),
            hint="Paths of media are relative to the set's folder.",
        )
    return "/".join(part for part in parts if part != ".")


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part
    ]
