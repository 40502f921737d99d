"""All media of a group, within the pixels that it may show and the memory that groups in work may take together."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.media.load import Clip, Picture, load, measure
from yoj_cli.media.options import DEFAULTS, MediaOptions

MAX_PIXELS_IN_WORK = 20_000_000
"""Of all groups that are prepared at the same time, whatever the threads, or of one group; preparing takes some 30
bytes a pixel. Pictures are decoded four at a time whatever their size."""


class Room:
    """Pixels of the groups in work: a group waits while the others' leave it no room.

    The group that came first always gets what it asks for, so that none waits in a circle, and one that is larger than
    the room is prepared nearly alone.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self.forget()

    @contextmanager
    def shared(self) -> Iterator[Callable[[int], None]]:
        """Gives a function that takes room for so many pixels more; all of it is given back at the block's end."""
        ours = object()

        def take(n_pixels: int) -> None:
            with self._changed:
                self._changed.wait_for(lambda: self._has_room(ours, n_pixels))
                self._taken[ours] += n_pixels

        with self._changed:
            self._taken[ours] = 0
        try:
            yield take
        finally:
            with self._changed:
                del self._taken[ours]
                self._changed.notify_all()

    def forget(self) -> None:
        """Start empty; in a forked child, who is at work and who holds the lock are threads of the parent."""
        self._changed = threading.Condition()
        self._taken: dict[object, int] = {}

    def _has_room(self, ours: object, n_pixels: int) -> bool:
        is_first = next(iter(self._taken)) is ours
        return is_first or sum(self._taken.values()) + n_pixels <= self._max_pixels


_room = Room(MAX_PIXELS_IN_WORK)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_room.forget)


@contextmanager
def loaded_media(media: Sequence[Media], options: MediaOptions = DEFAULTS) -> Iterator[list[Picture | Clip]]:
    """A group's pictures and clips, in their order; one that is shown several times is loaded once.

    Use them inside: other groups' pixels may wait for the end of the block.

    Raises:
        MediaError: one cannot be loaded, or together they have more pixels than a group may show.
    """
    n_shown = Counter(map(_key, media))
    distinct = {_key(medium): medium for medium in media}
    if len(media) * options.max_pixels > options.max_group_pixels:
        _check_headers([(medium, n_shown[key]) for key, medium in distinct.items()], options)
    loaded: dict[Hashable, Picture | Clip] = {}
    n_pixels = 0
    with _room.shared() as take_room:
        for key, medium in distinct.items():
            loaded[key] = load(medium, options)
            n_more = n_shown[key] * count_pixels(loaded[key])
            n_pixels += n_more
            _check(n_pixels, options)
            take_room(n_more)
        yield [loaded[_key(medium)] for medium in media]


def load_group(media: Sequence[Media], options: MediaOptions = DEFAULTS) -> list[Picture | Clip]:
    """`loaded_media`, to be kept: nothing waits for their end."""
    with loaded_media(media, options) as loaded:
        return loaded


def _check_headers(shown: Sequence[tuple[Media, int]], options: MediaOptions) -> None:
    """Add up what the pictures' headers say, before the first of them is decoded; clips tell when they are."""
    n_pixels = 0
    for medium, n_times in shown:
        n_pixels += n_times * measure(medium, options)
        _check(n_pixels, options)


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
