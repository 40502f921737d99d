"""Where a medium's bytes are: a local file inside its root, a data: URL, or an address on the network."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from yoj_cli.errors import MediaError

if TYPE_CHECKING:
    pass
from yoj_cli.media.options import MediaOptions

HINT_DATA_URL = "Write data:image/png;base64, and then the file's bytes in base64."


def _is_folder(source: str, options: MediaOptions) -> bool:
    if _scheme(source) not in ("", "file"):
        return False
    try:
        return _resolve(source, options).is_dir()
    except OSError as error:  # a name too long, a folder on the way that may not be entered
        raise _unreadable(error, source, options) from error


def _scheme(source: str) -> str:
    """ "data", "http", "file" …; "" for a plain path. A single letter is a Windows drive."""
    match = re.match(r"(?:(data):|([a-z][a-z0-9+.-]+)://)", source, re.IGNORECASE)
    return (match[1] or match[2]).lower() if match else ""


def _shorten(source: str) -> str:
    """The source as an error names it: a data: URL or a long address only begins."""
    limit = 48 if _scheme(source) == "data" else 200
    return source if len(source) <= limit else source[:limit] + "…"


@contextlib.contextmanager
def _open_source(source: str, options: MediaOptions) -> Iterator[BinaryIO]:
    data = _fetch_bytes(source, options)
    if data is not None:
        yield BytesIO(data)
        return
    with _open_local(source, options) as file:
        yield file


@contextlib.contextmanager
def _source_path(source: str, options: MediaOptions) -> Iterator[Path]:
    """A file that a decoder in another process can open."""
    data = _fetch_bytes(source, options)
    if data is None:
        with _open_local(source, options):  # says what is wrong with it, if anything
            yield _resolve(source, options)
        return
    handle, name = tempfile.mkstemp(prefix="yoj-clip-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield Path(name)
    finally:
        os.unlink(name)


def _fetch_bytes(source: str, options: MediaOptions) -> bytes | None:
    """What a data: URL holds or an address serves; None for a local path."""
    scheme = _scheme(source)
    if scheme in ("", "file"):
        return None
    if scheme == "data":
        return parse_data_url(source)
    if scheme not in ("http", "https"):
        raise MediaError(
            f"{scheme}:// addresses cannot be read", where=_shorten(source), hint="Download it first."
        )
    if not options.allow_remote:
        raise MediaError(
            "media on the network is not fetched unless that is allowed",
            where=_shorten(source),
            hint="Download it first, or give --allow-remote-media.",
        )
    from yoj_cli.media.download import download

    return download(source, max_bytes=options.max_download_bytes, timeout_s=options.timeout_s)


def parse_data_url(url: str) -> bytes:
    """The bytes of a data: URL, base64 or percent-encoded.

    Raises:
        MediaError: no comma, empty, or not base64.
    """
    where = _shorten(url)
    header, comma, body = url.partition(",")
    if not comma:
        raise MediaError("a data: URL needs a comma before its data", where=where, hint=HINT_DATA_URL)
    if header.lower().endswith(";base64"):
        packed = re.sub(r"\s", "", unquote(body)).translate({ord("-"): "+", ord("_"): "/"})
        try:
            data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise MediaError(
                f"the data: URL is not valid base64: {error}", where=where, hint=HINT_DATA_URL
            ) from error
    else:
        data = unquote_to_bytes(body)
    if not data:
        raise MediaError("the data: URL is empty", where=where, hint=HINT_DATA_URL)
    return data


@contextlib.contextmanager
def _open_local(source: str, options: MediaOptions) -> Iterator[BinaryIO]:
    """Open a file for reading, after the checks that make a clear message."""
    path = _resolve(source, options)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            hint = "Name one file in it; a folder of frames is given as a video."
            raise MediaError("this is a folder, not a file", where=source, hint=hint)
        if not stat.S_ISREG(found.st_mode):
            raise MediaError("not a regular file", where=source, hint="Save it to a file first.")
        if found.st_size == 0:
            raise MediaError("the file is empty", where=source, hint="Get it again.")
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(error, source, options) from error
    with file:
        yield file


def _resolve(source: str, options: MediaOptions) -> Path:
    """The absolute path with symbolic links followed, which must lie inside `confine`."""
    if not source:
        raise MediaError("the path is empty", where='""', hint="Name a file.")
    try:
        name = _path_of_url(source) if _scheme(source) == "file" else source
        path = Path(options.root or options.confine or "", name).resolve()
        inside = options.confine is None or path.is_relative_to(options.confine.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # no URL, a loop of links, a NUL byte
        raise MediaError(
            f"not a usable path: {error}", where=repr(_shorten(source)), hint="Correct the path."
        ) from error
    if not inside:
        raise MediaError(
            f"this path leads outside the media root {options.confine}",
            where=source,
            hint="Move the file inside, or give a --media-root that holds it.",
        )
    return path


def _path_of_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise MediaError(
            f"a file:// URL cannot name the host {parts.netloc}",
            where=_shorten(url),
            hint="Write file:///folder/file, or the path alone.",
        )
    return url2pathname(parts.path)


def _unreadable(error: OSError, source: str, options: MediaOptions) -> MediaError:
    if not isinstance(error, FileNotFoundError):
        what = f"the file cannot be read: {error.strerror or error}"
        return MediaError(what, where=_shorten(source), hint="Make it readable, or copy it elsewhere.")
    start = options.root or options.confine
    folder = "the current folder" if start in (None, Path()) else str(start)
    other = ", or name another folder with --media-root" if options.confine is None else ""
    hint = f"Correct the path (a relative one starts from {folder}){other}."
    return MediaError("there is no such file", where=_shorten(source), hint=hint)
