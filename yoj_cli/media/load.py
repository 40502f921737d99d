"""Media -> pixels: find the file (or fetch it, if allowed), then let `pictures` or `clips` read it.

Every way in which a picture or clip can be unusable is a MediaError whose `where` is the path; nothing
is ever replaced by something else. Pillow and numpy are imported here, so import this module only when
media is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from blake3 import blake3
from PIL import Image

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media, scheme_of, shorten
from yoj_cli.media.beneath import close_roots
from yoj_cli.media.clip_cache import ClipCache
from yoj_cli.media.containers import too_many_pixels
from yoj_cli.media.decoder_pool import pool
from yoj_cli.media.files import is_folder, list_frames
from yoj_cli.media.options import DEFAULTS, MediaOptions
from yoj_cli.media.pictures import DIGEST_BYTES, convert_picture, picture_digest
from yoj_cli.media.sources import open_source

if TYPE_CHECKING:
    from numpy.typing import NDArray

SECONDS_PER_FRAME = 4.0
"""Spacing of the pictures in a folder of frames that states none.

Source: the released trainer's default (mr2rm/data/dataset.py), so what the published weights were trained on.
"""

MAX_LISTED_FRAMES = 10_000
"""Pictures of one clip, of which a few are shown."""


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
    if media.kind == "frames" or (media.kind == "video" and is_folder(media)):
        return _load_frames(media, options)
    if media.kind == "video":
        return _load_video(media, options)
    with open_source(media, options) as (file, _):
        return Picture(*_decode_picture(file, shorten(media.source), options))


def load_small(media: Media, options: MediaOptions, *, small_pixels: int) -> Picture | int:
    """Load a picture file of at most `small_pixels` by its header, in the request that reads the header.

    Returns:
        The picture; of any other medium its pixels, a clip's with as many frames as may be shown, 0 for the network's.
    Raises:
        MediaError: as `load`.
    """
    if isinstance(media.source, Image.Image):
        return media.source.width * media.source.height
    if media.frames or media.kind == "frames" or (media.kind == "video" and is_folder(media)):
        pictures = media.frames or list_frames(media)
        first = load_small(pictures[0], options, small_pixels=0)
        assert isinstance(first, int)
        return min(len(pictures), options.n_frames) * first
    if not (media.path or scheme_of(media.source) == "data"):
        return 0
    where, max_pixels, timeout_s = shorten(str(media.source)), options.max_pixels, options.timeout_s
    with open_source(media, options) as (file, identity):
        if media.kind == "image":
            found = pool.decode_small_picture(
                file, where=where, max_pixels=max_pixels, small_pixels=small_pixels, timeout_s=timeout_s
            )
            return found if isinstance(found, int) else Picture(*found)
        kept = _clips.find((*identity, *_clip_limits(options).values()))
        if kept is not None:
            return kept.frames.size // 3
        n_pixels = pool.check_clip(file, where=where, max_pixels=max_pixels, timeout_s=timeout_s)
        return options.n_frames * n_pixels


def close() -> None:
    """End the processes that decode, which also end with the program, and free the clips that are kept."""
    pool.close()
    _clips.clear()
    close_roots()


def _decode_picture(file: BinaryIO, where: str, options: MediaOptions) -> tuple[Image.Image, str]:
    return pool.decode_picture(file, where=where, max_pixels=options.max_pixels, timeout_s=options.timeout_s)


def _load_video(media: Media, options: MediaOptions) -> Clip:
    limits, where = _clip_limits(options), shorten(str(media.source))
    with open_source(media, options) as (file, identity):

        def decode() -> Clip:
            decoded = pool.decode_clip(file, where=where, **limits, timeout_s=options.timeout_s)
            return _build_clip(decoded.frames, decoded.times_s, decoded.duration_s)

        try:
            return _clips.get((*identity, *limits.values()), decode)
        except MediaError as error:  # perhaps another thread's, whose group names the file otherwise
            raise MediaError(error.what, where=where, hint=error.hint) from error.__cause__


def _clip_limits(options: MediaOptions) -> dict[str, int]:
    """What a clip's frames depend on besides its file."""
    return {
        "max_frames": options.n_frames,
        "max_pixels": options.max_pixels,
        "max_clip_pixels": options.max_clip_pixels,
    }


def _load_frames(media: Media, options: MediaOptions) -> Clip:
    """The pictures of a list, or of a folder in natural order, evenly thinned to max_frames.

    Both ends stay, and every picture's time is its place in the whole clip times the spacing.
    """
    spacing_s = SECONDS_PER_FRAME if media.seconds_per_frame is None else media.seconds_per_frame
    if not 0 < spacing_s < float("inf"):
        raise MediaError(
            "the time between its frames is not a positive number of seconds",
            where=str(media.source),
            hint="It is 'seconds_per_frame' beside \"frames\", or the line's 'sampling_interval' or 'fps'.",
        )
    pictures = media.frames or list_frames(media)
    if len(pictures) > MAX_LISTED_FRAMES:
        raise MediaError(
            f"it has {len(pictures):,} pictures, over the limit of {MAX_LISTED_FRAMES:,}: each of them is opened",
            where=_name_of(media),
            hint="Make a clip of them, or leave out most and raise the time between two.",
        )
    kept = even_indices(len(pictures), options.n_frames)
    frames: list[NDArray[np.uint8]] = []
    for place, picture in enumerate(pictures):
        frame = _load_frame(picture, options, is_kept=place in kept)
        if frame is None:
            continue
        if frames and frame.shape != frames[0].shape:
            (height, width, _), (first_height, first_width, _) = frame.shape, frames[0].shape
            first = _name_of(pictures[kept[0]])
            raise MediaError(
                f"it is {width} x {height} pixels, but {first} is {first_width} x {first_height}",
                where=_name_of(picture),
                hint="All frames of a clip must have one size.",
            )
        if len(kept) * frame.size > 3 * options.max_clip_pixels:
            height, width, _ = frame.shape
            limit = options.max_clip_pixels
            raise too_many_pixels(len(kept), width, height, where=_name_of(media), max_clip_pixels=limit)
        frames.append(frame)
    return _build_clip(
        np.stack(frames), tuple(place * spacing_s for place in kept), len(pictures) * spacing_s
    )


def _load_frame(picture: Media, options: MediaOptions, *, is_kept: bool) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 RGB; None for one that is only seen to be a picture, because it is not shown."""
    where = _name_of(picture)
    if isinstance(picture.source, Image.Image):
        return np.asarray(convert_picture(picture.source, where=where, max_pixels=options.max_pixels))
    with open_source(picture, options) as (file, _):
        if is_kept:
            return np.asarray(_decode_picture(file, where, options)[0])
        limits = {"max_pixels": options.max_pixels, "small_pixels": 0}
        pool.decode_small_picture(file, where=where, **limits, timeout_s=options.timeout_s)
    return None


def _name_of(media: Media) -> str:
    return shorten(media.source) if isinstance(media.source, str) else "<picture in memory>"


def even_indices(n_items: int, n_kept: int) -> list[int]:
    """At most n_kept of range(n_items), evenly, both ends included; one alone is the first.

    Source: the released trainer's thinning of frame folders (mr2rm/data/dataset.py), rounding half to even.
    """
    if n_items <= n_kept:
        return list(range(n_items))
    if n_kept == 1:
        return [0]
    return [round(i * (n_items - 1) / (n_kept - 1)) for i in range(n_kept)]


def _build_clip(frames: NDArray[np.uint8], times_s: tuple[float, ...], duration_s: float) -> Clip:
    frames = np.ascontiguousarray(frames)
    digest = blake3(f"clip {frames.shape} {times_s} {duration_s}".encode())
    digest.update(frames.data)
    return Clip(frames, times_s, duration_s, digest.hexdigest(length=DIGEST_BYTES))


_clips: ClipCache[Clip] = ClipCache(lambda clip: clip.frames.nbytes)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clips.forget)
