"""Where a data set's rows and media lie, a local copy or the Hub's: one way for benchmarks and for training sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from yoj_cli.errors import InputError, first_few
from yoj_cli.groups import scheme_of
from yoj_cli.rows.media_folder import MediaFolder, default_folder
from yoj_cli.rows.read import kind_of_file, read_rows
from yoj_cli.rows.tree import Folder, Tree, Zip, clean_name
from yoj_cli.storage.data_sets import matching, pull_data_set

MEDIA_KEYS = ("image", "images", "video", "videos")


@dataclass
class Source:
    """A data set's files.

    Attributes:
        name: for errors: a path, or a Hub id.
        revision: the commit on the Hub; "" for a local copy.
        trees: where rows are looked for, and media.
        media: where media are looked for besides.
        keep: where pictures go that have no file of their own (bytes in a row, members of a zip).
        copies: whether media that have a file are kept there too.
    """

    name: str
    revision: str
    trees: Sequence[Tree]
    keep: MediaFolder
    media: Sequence[Tree] = ()
    copies: bool = False
    _zips: list[Zip] | None = field(default=None, repr=False)

    def rows(self, patterns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every row with the place that errors name.

        Args:
            patterns: of file names; the first that matches any says which are read. Without a match, the only data
                file (or the only kind of them in one folder).
        Raises:
            InputError: there is no data file, or several that could be meant; or one cannot be read.
        """
        for tree, name in self.data_files(patterns):
            with tree.open(name) as stream:
                yield from read_rows(stream, name)

    @property
    def folder(self) -> str:
        """Where the set lies; media paths of its records are absolute."""
        return next((str(tree.root) for tree in self.trees if isinstance(tree, Folder)), "")

    def data_files(self, patterns: Sequence[str]) -> list[tuple[Tree, str]]:
        found = [(tree, name) for tree in self.trees for name in sorted(tree.names) if kind_of_file(name)]
        names = [name for _, name in found]
        if len(found) == 1:
            return found
        for pattern in patterns:
            chosen = set(matching(names, pattern))
            if chosen:
                return [(tree, name) for tree, name in found if name in chosen]
        if not names:
            raise InputError(
                "holds no data file",
                where=self.name,
                hint="A data file ends with .parquet, .jsonl, .jsonl.gz or .json.",
            )
        raise InputError(
            f"holds {len(names)} data files, and none is called {' or '.join(patterns)}: {first_few(names, 6)}",
            where=self.name,
            hint="Give the file itself.",
        )

    def keep_media(self, record: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The record with its media as paths that can be opened.

        Raises:
            InputError: a path leads out of the data set, or nothing is there.
        """
        kept = dict(record)
        for key in MEDIA_KEYS:
            if key in kept:
                value = kept[key]
                kept[key] = (
                    [self._keep(item, where) for item in value]
                    if isinstance(value, (list, tuple))
                    else self._keep(value, where)
                )
        return kept

    def _keep(self, value: Any, where: str) -> Any:
        """Bytes, `{"bytes", "path"}` (how parquet holds a picture), a path, or the address of a picture."""
        if isinstance(value, Mapping):
            if isinstance(value.get("frames"), str):
                return {**value, "frames": self._keep(value["frames"], where)}
            value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
        if isinstance(value, (bytes, bytearray)):
            return self.keep.save_bytes(bytes(value), where)
        if not isinstance(value, str) or not value:
            raise InputError("a picture or clip is neither bytes nor a path", where=where)
        if scheme_of(value) in ("http", "https", "data"):
            return value
        return self._keep_named(clean_name(value), where)

    def _keep_named(self, name: str, where: str) -> str:
        for tree in (*self.trees, *self.media, *self._inner_zips()):
            for found in _aliases(tree, name):
                if tree.has(found):
                    return self._keep_file(tree, found, where)
                frames = tree.list_folder(found)
                if frames:
                    return self._keep_frames(tree, found, frames, where)
        looked = first_few([tree.where for tree in (*self.trees, *self.media)], 3)
        raise InputError(
            f"there is no {name!r} in {looked}",
            where=where,
            hint="Give the folder or zip with the media: --media (yoj data), --media-root (yoj eval).",
        )

    def _keep_file(self, tree: Tree, name: str, where: str) -> str:
        if isinstance(tree, Folder) and not self.copies:
            return tree.path_of(name)
        with tree.open(name) as stream:
            return self.keep.save(stream, f"{where}: {name}")

    def _keep_frames(self, tree: Tree, folder: str, names: Sequence[str], where: str) -> str:
        if isinstance(tree, Folder) and not self.copies:
            return tree.path_of(folder)

        def frames() -> Iterator[BinaryIO]:
            for name in names:
                with tree.open(name) as stream:
                    yield stream

        return self.keep.save_frames(frames(), f"{where}: {folder}")

    def _inner_zips(self) -> list[Zip]:
        """Zips that lie among the files: how large sets keep their pictures."""
        if self._zips is None:
            folders = [tree for tree in (*self.trees, *self.media) if isinstance(tree, Folder)]
            paths = {path for tree in folders for path in tree.root.iterdir() if _is_zip(path.name)}
            self._zips = [Zip(path) for path in sorted(paths)]
        return self._zips


def open_source(
    hub_id: str,
    revision: str,
    *,
    files: Sequence[str],
    archives: Sequence[str] = (),
    data: Path | None = None,
    media: Path | None = None,
    keep: MediaFolder | None = None,
    copies: bool = False,
) -> Source:
    """A data set's source.

    Args:
        files, archives: patterns of the Hub's files that are needed.
        data: a local copy; None takes the Hub's (from the cache, where it is there).
        media: a folder or zip with its pictures and clips, if they lie elsewhere.
        keep, copies: see `Source`.
    Raises:
        InputError: there is no such copy, or the Hub has none.
    """
    more = [open_tree(media)] if media is not None else []
    keep = keep or MediaFolder(default_folder())
    if data is not None:
        trees, beside = _trees_of(data)
        return Source(str(data), "", trees, keep, [*beside, *more], copies)
    if not hub_id:
        raise InputError("is not on the Hub", hint="Give a local copy with --data PATH.")
    snapshot = pull_data_set(hub_id, revision or None, files, archives)
    tree = Folder(snapshot, within=snapshot.parents[1])
    return Source(hub_id, snapshot.name, [tree], keep, more, copies)


def open_tree(path: Path) -> Tree:
    """A folder or a zip.

    Raises:
        InputError: it is neither.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise InputError("there is no such file or folder", where=str(path))
    return Zip(path)


def _trees_of(data: Path) -> tuple[list[Tree], list[Tree]]:
    """Where rows of a local copy are, and what lies beside one file."""
    if data.is_dir():
        folder = Folder(data)
        has_rows = any(kind_of_file(name) for name in folder.names)
        zips = [] if has_rows else [Zip(data / name) for name in sorted(folder.names) if _is_zip(name)]
        return [folder, *zips], []
    if data.is_file() and not _is_zip(data.name):
        if kind_of_file(data.name) is None:
            raise InputError(
                "is no data file by its ending",
                where=str(data),
                hint="A data file ends with .parquet, .jsonl, .jsonl.gz, .json or .zip.",
            )
        return [Folder(data.parent, only=data.name)], [Folder(data.parent)]
    return [open_tree(data)], []


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _aliases(tree: Tree, name: str) -> Iterator[str]:
    """The names under which a tree may have a file: a zip's members often leave out the folder called as the zip."""
    yield name
    if isinstance(tree, Zip):
        first, _, rest = name.partition("/")
        yield rest if first == tree.stem and rest else f"{tree.stem}/{name}"
