"""All media of a group, within the pixels that it may show and the memory that groups in work may take together."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.media.load import Clip, Picture, load, load_small
from yoj_cli.media.options import DEFAULTS, MediaOptions

MAX_BYTES_IN_WORK = 1_200_000_000
"""Of all groups whose media are decoded and prepared at the same time, whatever the threads; or of one group."""
PICTURE_BYTES, CLIP_BYTES = 30, 10
"""What a pixel takes at most from decoding to tensors: a picture's is scaled as a float of its own, a clip's frames are
scaled a few at a time."""

SMALL_PIXELS = 4_000_000
"""So many pixels of a group's pictures are decoded with their headers, before there is room for them: 12 MB."""


class Room:
    """Memory of the groups in work: a group waits while the others leave it no room.

    Who holds nothing yet takes turns, and one that is larger than the room waits until it is alone. Of those that hold
    some, the first always gets more, so that none waits in a circle.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.forget()

    @contextmanager
    def shared(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that takes so much room more; all of it is given back at the block's end."""
        ours = object()

        def take(more: int) -> None:
            if more <= 0:
                return
            with self._changed:
                is_new = ours not in self._taken
                if is_new:
                    self._waiting.append(ours)
                try:
                    self._changed.wait_for(lambda: self._has_room(ours, more))
                    self._taken[ours] = self._taken.get(ours, 0) + more
                finally:
                    if is_new:
                        self._waiting.remove(ours)
                        self._changed.notify_all()

        try:
            yield take
        finally:
            with self._changed:
                self._taken.pop(ours, None)
                self._changed.notify_all()

    def forget(self) -> None:
        """Start empty; in a forked child, who is at work and who holds the lock are threads of the parent."""
        self._changed = threading.Condition()
        self._taken: dict[object, int] = {}
        self._waiting: list[object] = []

    def _has_room(self, ours: object, more: int) -> bool:
        fits = sum(self._taken.values()) + more <= self._size
        if ours in self._taken:
            return fits or next(iter(self._taken)) is ours
        return self._waiting[0] is ours and (fits or not self._taken)


_room = Room(MAX_BYTES_IN_WORK)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_room.forget)


@contextmanager
def loaded_media(media: Sequence[Media], options: MediaOptions = DEFAULTS) -> Iterator[list[Picture | Clip]]:
    """A group's pictures and clips, in their order; one that is shown several times is loaded once.

    Use them inside: other groups' media may wait for the end of the block. But for a few small pictures, nothing is
    decoded before there is room for what its header says; media on the network, which have none yet, take their room
    when they are there.

    Raises:
        MediaError: one cannot be loaded, or together they have more pixels than a group may show.
    """
    n_shown = Counter(map(_key, media))
    distinct = {_key(medium): medium for medium in media}
    small, n_held = _read_headers(distinct, n_shown, options)
    loaded: dict[Hashable, Picture | Clip] = {}
    n_pixels = n_bytes = 0
    with _room.shared() as take_room:
        take_room(n_held)
        for key, medium in distinct.items():
            loaded[key] = small.pop(key) if key in small else load(medium, options)
            n_more = n_shown[key] * count_pixels(loaded[key])
            n_pixels += n_more
            n_bytes += n_more * _bytes_a_pixel(medium)
            _check(n_pixels, options)
            take_room(n_bytes - n_held)
            n_held = max(n_held, n_bytes)
        yield [loaded[_key(medium)] for medium in media]


def load_group(media: Sequence[Media], options: MediaOptions = DEFAULTS) -> list[Picture | Clip]:
    """`loaded_media`, to be kept: nothing waits for their end."""
    with loaded_media(media, options) as loaded:
        return loaded


def _read_headers(
    media: Mapping[Hashable, Media], n_shown: Mapping[Hashable, int], options: MediaOptions
) -> tuple[dict[Hashable, Picture], int]:
    """The small pictures, and the bytes that all media take at most; how long a clip is shows when it is decoded."""
    small: dict[Hashable, Picture] = {}
    small_pixels, n_pixels, n_bytes = SMALL_PIXELS, 0, 0
    for key, medium in media.items():
        found = load_small(medium, options, small_pixels=small_pixels)
        if isinstance(found, Picture):
            small[key] = found
            found = count_pixels(found)
            small_pixels -= found
        n_bytes += n_shown[key] * found * _bytes_a_pixel(medium)
        if medium.kind == "image":
            n_pixels += n_shown[key] * found
            _check(n_pixels, options)
    return small, n_bytes


def _bytes_a_pixel(medium: Media) -> int:
    return PICTURE_BYTES if medium.kind == "image" else CLIP_BYTES


def _check(n_pixels: int, options: MediaOptions) -> None:
    if n_pixels > options.max_group_pixels:
        raise MediaError(
            f"its pictures and clips have more than {options.max_group_pixels:,} pixels in all (--max-group-mp)",
            hint="Show fewer or smaller ones, or raise --max-group-mp.",
        )


def count_pixels(loaded: Picture | Clip) -> int:
    """Of a picture, or of all frames that are shown of a clip."""
    if isinstance(loaded, Picture):
        return loaded.image.width * loaded.image.height
    n_frames, height, width, _ = loaded.frames.shape
    return int(n_frames * height * width)


def _key(medium: Media) -> Hashable:
    """Equal for media that are the same; a picture in memory is the same as itself alone."""
    if medium.frames:
        return id(medium)
    return medium if isinstance(medium.source, str) else id(medium.source)
