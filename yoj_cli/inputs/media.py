"""Media -> pixels: find the file (or fetch it, if allowed), then let `pictures` or `clips` read it.

Every way in which a picture or clip can be unusable is a MediaError whose `where` is the path; nothing
is ever replaced by something else. Pillow and numpy are imported here, so import this module only when
media is loaded.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np
from PIL import Image

from yoj_cli.errors import MediaError
from yoj_cli.inputs.pictures import check_picture, convert_picture, picture_digest, read_picture
from yoj_cli.inputs.records import Media

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECONDS_PER_FRAME = 4.0
"""Spacing of the pictures in a folder of frames that states none.

Source: the released trainer's default (mr2rm/data/dataset.py), so what the published weights were trained on.
"""

HINT_DATA_URL = "Write data:image/png;base64, and then the file's bytes in base64."

DEFAULT_MAX_FRAMES = 16
"""What the published weights were trained on (arXiv 2604.10966)."""


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """How media is found and how much of it is taken.

    Attributes:
        root: folder against which relative paths resolve; None is `confine`, else the current folder.
        confine: folder that no path may leave, symbolic links followed; None lets paths go anywhere.
        allow_remote: http(s) addresses may be fetched (--allow-remote-media).
        max_frames: frames shown of one clip or folder, >= 1; None is the judge's, or DEFAULT_MAX_FRAMES without one.
        max_pixels: width x height of a picture or a clip's frame; the default is where Pillow starts to warn.
        max_download_bytes: size of a fetched file.
        timeout_s: time for one download, and for decoding one clip.
    """

    root: Path | None = None
    confine: Path | None = None
    allow_remote: bool = False
    max_frames: int | None = None
    max_pixels: int = 89_478_485
    max_download_bytes: int = 1 << 30
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, not {self.max_frames}")

    @property
    def n_frames(self) -> int:
        """Frames shown of one clip or folder, where nobody has another number."""
        return DEFAULT_MAX_FRAMES if self.max_frames is None else self.max_frames


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright RGB picture; `digest` is equal exactly when the pixels are."""

    image: Image.Image
    digest: str


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames that are shown of a clip.

    Attributes:
        frames: (F, H, W, 3) uint8 RGB.
        times_s: (F,) the instants that the prompt states, in seconds from the first frame.
        duration_s: from the first frame's start to the last one's end.
        digest: equal exactly when frames, times and duration are.
    """

    frames: NDArray[np.uint8]
    times_s: tuple[float, ...]
    duration_s: float
    digest: str


DEFAULTS = MediaOptions()


def load(media: Media, options: MediaOptions = DEFAULTS) -> Picture | Clip:
    """A picture for kind "image", a clip for "video" and "frames". Safe to call from several threads.

    A "video" may also be a folder of frames, as in the official training format.

    Raises:
        MediaError: missing, refused, damaged or not what its kind says; `where` is the path.
    """
    if isinstance(media.source, Image.Image):
        if media.kind != "image":
            raise MediaError(
                f'a picture in memory cannot be a "{media.kind}"',
                where="<picture in memory>",
                hint="Give a clip as a path, or its frames as a folder.",
            )
        image = convert_picture(media.source, where="<picture in memory>", max_pixels=options.max_pixels)
        return Picture(image, picture_digest(image))
    source = str(media.source)
    if media.kind == "frames" or (media.kind == "video" and _is_folder(source, options)):
        return _load_frames(source, media.seconds_per_frame, options)
    if media.kind == "video":
        return _load_video(source, options)
    where = _shorten(source)
    with _open_source(source, options) as file:
        image = read_picture(file, where=where, max_pixels=options.max_pixels)
    return Picture(image, picture_digest(image))


def close() -> None:
    """End the processes that decode clips; they also end with the program."""
    from yoj_cli.inputs.clip_pool import pool

    pool.close()


def _load_video(source: str, options: MediaOptions) -> Clip:
    from yoj_cli.inputs.clip_pool import pool

    with _source_path(source, options) as path:
        try:
            decoded = pool.decode(
                str(path),
                max_frames=options.n_frames,
                max_pixels=options.max_pixels,
                timeout_s=options.timeout_s,
            )
        except MediaError as error:
            error.where = _shorten(source)
            raise
    return _build_clip(decoded.frames, decoded.times_s, decoded.duration_s)


def _load_frames(source: str, seconds_per_frame: float | None, options: MediaOptions) -> Clip:
    """The pictures of a folder in natural order (frame2 before frame10), evenly thinned to max_frames.

    Both ends stay, and every picture's time is its place in the whole folder times the spacing.
    """
    spacing_s = SECONDS_PER_FRAME if seconds_per_frame is None else seconds_per_frame
    if not 0 < spacing_s < float("inf"):
        raise MediaError(
            "the time between its frames is not a positive number of seconds",
            where=source,
            hint="It is 'seconds_per_frame' beside \"frames\", or the line's 'sampling_interval' or 'fps'.",
        )
    names = _list_frames(source, options)
    kept = even_indices(len(names), options.n_frames)
    frames: list[NDArray[np.uint8]] = []
    for place, name in enumerate(names):
        with _open_local(name, options) as file:
            if place not in kept:
                check_picture(file, where=name, max_pixels=options.max_pixels)
                continue
            frame = np.asarray(read_picture(file, where=name, max_pixels=options.max_pixels))
        if frames and frame.shape != frames[0].shape:
            (height, width, _), (first_height, first_width, _) = frame.shape, frames[0].shape
            raise MediaError(
                f"it is {width} x {height} pixels, but {names[kept[0]]} is {first_width} x {first_height}",
                where=name,
                hint="All frames of a folder must have one size.",
            )
        frames.append(frame)
    return _build_clip(np.stack(frames), tuple(place * spacing_s for place in kept), len(names) * spacing_s)


def even_indices(n_items: int, n_kept: int) -> list[int]:
    """At most n_kept of range(n_items), evenly, both ends included; one alone is the first.

    Source: the released trainer's thinning of frame folders (mr2rm/data/dataset.py), rounding half to even.
    """
    if n_items <= n_kept:
        return list(range(n_items))
    if n_kept == 1:
        return [0]
    return [round(i * (n_items - 1) / (n_kept - 1)) for i in range(n_kept)]


def _list_frames(source: str, options: MediaOptions) -> list[str]:
    if _scheme(source) not in ("", "file"):
        raise MediaError(
            "frames must be a local folder", where=_shorten(source), hint="Download the folder first."
        )
    folder = _resolve(source, options)
    try:
        names = [entry for entry in os.listdir(folder) if not entry.startswith(".")]
    except NotADirectoryError as error:
        raise MediaError(
            "not a folder of frames",
            where=source,
            hint="Name the folder; a clip file is given as a video by itself.",
        ) from error
    except OSError as error:
        raise _unreadable(error, source, options) from error
    if not names:
        raise MediaError(
            "there are no pictures in this folder", where=source, hint="Name the folder that holds them."
        )
    return [os.path.join(folder, name) for name in sorted(names, key=_natural_key)]


def _is_folder(source: str, options: MediaOptions) -> bool:
    if _scheme(source) not in ("", "file"):
        return False
    try:
        return _resolve(source, options).is_dir()
    except OSError as error:  # a name too long, a folder on the way that may not be entered
        raise _unreadable(error, source, options) from error


def _natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"([0-9]+)", name)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)], name


def _build_clip(frames: NDArray[np.uint8], times_s: tuple[float, ...], duration_s: float) -> Clip:
    frames = np.ascontiguousarray(frames)
    digest = hashlib.blake2b(f"clip {frames.shape} {times_s} {duration_s}".encode(), digest_size=16)
    digest.update(frames.data)
    return Clip(frames, times_s, duration_s, digest.hexdigest())


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
    from yoj_cli.inputs.download import download

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
