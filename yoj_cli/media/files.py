"""Local files of media: opened inside their root, whatever their path leads through."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media, shorten
from yoj_cli.media.beneath import open_beneath


def is_folder(media: Media) -> bool:
    """Whether the medium is a local folder.

    Raises:
        MediaError: it leads out of its root, or the system refuses to say.
    """
    if not media.path:
        return False
    try:
        return stat.S_ISDIR(_stat(media).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # reading it says so
            return False
        raise unreadable(
            error, media
        ) from error  # a name too long, a folder on the way that may not be entered


def resolve(media: Media) -> Path:
    """Where the medium's path leads once symbolic links are followed.

    Raises:
        MediaError: outside its root, or no path at all.
    """
    return _locate(media)[0]


def _locate(media: Media) -> tuple[Path, Path | None]:
    """Where the medium's path leads, and the same from its root on, if it has one."""
    source = str(media.source)
    if not source:
        raise MediaError("the path is empty", where='""', hint="Name a file.")
    try:
        path = Path(media.path).resolve()
        root = None if media.root is None else Path(media.root).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL byte
        raise MediaError(
            f"not a usable path: {error}", where=repr(shorten(source)), hint="Correct the path."
        ) from error
    if root is None:
        return path, None
    if not path.is_relative_to(root):
        raise MediaError(
            f"this path leads outside the media root {media.root}",
            where=source,
            hint="Move the file inside, or give a --media-root that holds it.",
        )
    return path, path.relative_to(root)


def _open(media: Media, flags: int) -> int:
    """A descriptor of what the medium's path leads to; where it has a root, beneath that whatever happens meanwhile."""
    path, inside = _locate(media)
    if inside is None or media.root is None:
        return os.open(path, flags)
    return open_beneath(media.root, inside, flags)


def _stat(media: Media) -> os.stat_result:
    if media.root is None or not hasattr(os, "O_PATH"):
        return os.stat(resolve(media))
    handle = _open(media, os.O_PATH)
    try:
        return os.fstat(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def open_file(media: Media) -> Iterator[BinaryIO]:
    """Open a local file for reading, after the checks that make a clear message.

    Raises:
        MediaError: it is not there, no regular file, empty, outside its root, or may not be read.
    """
    where = str(media.source)
    try:
        _check_file(_stat(media), where)
        file = open(_open(media, READING), "rb")  # noqa: SIM115  (what goes wrong inside is not about opening)
    except OSError as error:
        raise unreadable(error, media) from error
    with file:
        _check_file(os.fstat(file.fileno()), where)  # another may have taken its place
        yield file


READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A named pipe that took a file's place is not waited for."""


def _check_file(found: os.stat_result, where: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        hint = "Name one file in it; a folder of frames is given as a video."
        raise MediaError("this is a folder, not a file", where=where, hint=hint)
    if not stat.S_ISREG(found.st_mode):
        raise MediaError("not a regular file", where=where, hint="Save it to a file first.")
    if found.st_size == 0:
        raise MediaError("the file is empty", where=where, hint="Get it again.")


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
    try:
        folder = resolve(media)
        names = [entry for entry in _list(media) if not entry.startswith(".")]
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


def _list(media: Media) -> list[str]:
    if os.listdir not in os.supports_fd:
        return os.listdir(resolve(media))
    handle = _open(media, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return os.listdir(handle)
    finally:
        os.close(handle)


def _natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)], name
