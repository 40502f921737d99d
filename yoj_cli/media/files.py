"""Local files of media: opened inside their root, whatever their path leads through."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media, shorten


def is_folder(media: Media) -> bool:
    """Whether the medium is a local folder.

    Raises:
        MediaError: it leads out of its root, or the system refuses to say.
    """
    if not media.path:
        return False
    try:
        return resolve(media).is_dir()
    except OSError as error:  # a name too long, a folder on the way that may not be entered
        raise unreadable(error, media) from error


def resolve(media: Media) -> Path:
    """Where the medium's path leads once symbolic links are followed.

    Raises:
        MediaError: outside its root, or no path at all.
    """
    source = str(media.source)
    if not source:
        raise MediaError("the path is empty", where='""', hint="Name a file.")
    try:
        path = Path(media.path).resolve()
        inside = media.root is None or path.is_relative_to(Path(media.root).resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL byte
        raise MediaError(
            f"not a usable path: {error}", where=repr(shorten(source)), hint="Correct the path."
        ) from error
    if not inside:
        raise MediaError(
            f"this path leads outside the media root {media.root}",
            where=source,
            hint="Move the file inside, or give a --media-root that holds it.",
        )
    return path


@contextlib.contextmanager
def open_file(media: Media) -> Iterator[BinaryIO]:
    """Open a local file for reading, after the checks that make a clear message.

    Raises:
        MediaError: it is not there, no regular file, empty, outside its root, or may not be read.
    """
    where = str(media.source)
    try:
        path = resolve(media)
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            hint = "Name one file in it; a folder of frames is given as a video."
            raise MediaError("this is a folder, not a file", where=where, hint=hint)
        if not stat.S_ISREG(found.st_mode):
            raise MediaError("not a regular file", where=where, hint="Save it to a file first.")
        if found.st_size == 0:
            raise MediaError("the file is empty", where=where, hint="Get it again.")
        opener = None if media.root is None else _open_without_links
        file = open(path, "rb", opener=opener)  # noqa: SIM115  (what goes wrong inside is not about opening)
    except OSError as error:
        raise unreadable(error, media) from error
    with file:
        yield file


def _open_without_links(path: str, flags: int) -> int:
    """Open an absolute path in which no link is left; one that came since `resolve` is an error, not a way out.

    Folder by folder from the top, because the system's O_NOFOLLOW looks at a path's last part alone. Where the
    system cannot open relative to a folder (Windows), the path is opened as it is.
    """
    if os.open not in os.supports_dir_fd:
        return os.open(path, flags)
    top, *parts = Path(path).parts
    folder = os.open(top, FOLDER_FLAGS)
    try:
        for part in parts[:-1]:
            inner = os.open(part, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


FOLDER_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY)
"""A folder on the way need not be readable, as for any other open."""


def unreadable(error: OSError, media: Media) -> MediaError:
    """What the system said of a path, with the next step."""
    source = str(media.source)
    where = shorten(source)
    if not isinstance(error, FileNotFoundError):
        what = f"the file cannot be read: {error.strerror or error}"
        return MediaError(what, where=where, hint="Make it readable, or copy it elsewhere.")
    folder = media.path.removesuffix(source)  # "" where the path is absolute, all of it for a URL
    start = f" (a relative one starts from {Path(folder)})" if folder not in ("", media.path) else ""
    other = ", or name another folder with --media-root" if media.root is None else ""
    hint = f"Correct the path{start}{other}."
    return MediaError("there is no such file", where=where, hint=hint)


def list_frames(media: Media) -> tuple[Media, ...]:
    """The pictures of a folder of frames in natural order: frame2 before frame10.

    Raises:
        MediaError: no folder, or none that can be read, or nothing in it.
    """
    source = str(media.source)
    if source and not media.path:
        raise MediaError(
            "frames must be a local folder", where=shorten(source), hint="Download the folder first."
        )
    folder = resolve(media)
    try:
        names = [entry for entry in os.listdir(folder) if not entry.startswith(".")]
    except NotADirectoryError as error:
        raise MediaError(
            "not a folder of frames",
            where=source,
            hint="Name the folder; a clip file is given as a video by itself.",
        ) from error
    except OSError as error:
        raise unreadable(error, media) from error
    if not names:
        raise MediaError(
            "there are no pictures in this folder", where=source, hint="Name the folder that holds them."
        )
    paths = (os.path.join(folder, name) for name in sorted(names, key=_natural_key))
    return tuple(Media("image", path, path=path, root=media.root) for path in paths)


def _natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)], name
