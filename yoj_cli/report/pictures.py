"""Pictures and clips as what a page can hold: small ones for every group, larger ones as far as the room goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import urlparse

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media, scheme_of
from yoj_cli.media.options import MediaOptions
from yoj_cli.scoring.prefetch import Prefetcher

SMALL_PX = ((480, 45_000), (320, 22_000), (240, 13_000))
"""The longer side of a picture beside its prompt, the largest of which all are likely to have room: so many bytes, at
the most of real photographs."""

SMALL_FRAME_PX = 240
LARGE_PX, LARGE_FRAME_PX = 1600, 960
"""The longer side when clicked on: of a picture, and of a clip's frames, which are many."""


@dataclass(slots=True)
class Shown:
    """One picture or clip as the page shows it.

    Attributes:
        name: the file's, without its folder.
        small, large: JPEG files as data: URLs, one a frame; `large` is empty where it would be no larger.
        times_s: (F,) of a clip's frames; empty for a picture.
        size_px: width and height before any scaling.
        problem: why there is nothing to see.
        left_out: for want of room: "all" of it, or the "large" ones.
    """

    kind: str
    name: str
    small: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)
    times_s: tuple[float, ...] = ()
    duration_s: float | None = None
    size_px: tuple[int, int] | None = None
    problem: str = ""
    left_out: str = ""

    @property
    def n_bytes(self) -> int:
        """What it takes in the page."""
        return sum(map(len, self.small)) + sum(map(len, self.large))


def show_media(
    media: Sequence[tuple[Media, MediaOptions]],
    *,
    max_bytes: float,
    tell: Callable[[str], None] = lambda what: None,
) -> list[Shown]:
    """What the page shows of each medium, in their order; one that cannot be read says so in its place.

    Small pictures go first: when the room is used up, larger ones are given up again, the last media's first.

    Args:
        media: each with its limits: of a clip those frames are shown that its judge saw.
        max_bytes: room for all of them together.
        tell: hears how far it is.
    """
    found: list[Shown] = []
    room, is_full = max_bytes, threading.Event()
    small_px = next((px for px, n_bytes in SMALL_PX if len(media) * n_bytes <= max_bytes), SMALL_PX[-1][0])

    def show(item: tuple[Media, MediaOptions]) -> Shown:
        return _show(*item, small_px, is_full)

    with Prefetcher(show, media) as stream:
        for shown in stream:
            if is_full.is_set() and shown.large:
                shown.large, shown.left_out = [], "large"
            room = _make_room(shown, found, room) - shown.n_bytes
            if shown.left_out:
                is_full.set()
            found.append(shown)
            tell(f"pictures and clips: {len(found):,} of {len(media):,}")
    return found


def _make_room(shown: Shown, before: Sequence[Shown], room: float) -> float:
    """Leave out what has no room; returns the room there is then."""
    if shown.n_bytes <= room:
        return room
    if shown.large:
        shown.large, shown.left_out = [], "large"
    for other in reversed(before):
        if shown.n_bytes <= room:
            break
        if other.large:
            room += sum(map(len, other.large))
            other.large, other.left_out = [], "large"
    if shown.n_bytes > room:
        shown.small, shown.left_out = [], "all"
    return room


def _show(media: Media, options: MediaOptions, small_px: int, is_full: threading.Event) -> Shown:
    """One medium; nothing large is made of it once there is no room for that."""
    from PIL.Image import fromarray

    from yoj_cli.media.data_url import jpeg_data_url
    from yoj_cli.media.load import Picture, load

    shown = Shown(media.kind, name_of_media(media))
    try:
        loaded = load(media, options)
    except MediaError as error:
        shown.problem = error.what
        return shown
    if isinstance(loaded, Picture):
        frames, large_px = [loaded.image], LARGE_PX
    else:
        frames = [fromarray(frame) for frame in loaded.frames]
        small_px, large_px = SMALL_FRAME_PX, LARGE_FRAME_PX
        shown.times_s, shown.duration_s = loaded.times_s, loaded.duration_s
    shown.size_px = frames[0].size
    shown.small = [jpeg_data_url(frame, small_px) for frame in frames]
    if max(shown.size_px) > small_px:
        shown.left_out = "large" if is_full.is_set() else ""
        shown.large = [] if shown.left_out else [jpeg_data_url(frame, large_px) for frame in frames]
    return shown


def name_of_media(media: Media) -> str:
    """What a reader knows it by: the file's name, never the folders of this machine."""
    if not isinstance(media.source, str):
        return "picture in memory"
    scheme = scheme_of(media.source)
    if scheme == "data":
        return "picture in the line" if media.kind == "image" else "clip in the line"
    if scheme in ("http", "https"):
        return PurePosixPath(urlparse(media.source).path).name or media.source
    return PureWindowsPath(media.source).name or media.source
