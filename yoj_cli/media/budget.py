"""All media of a group, within the pixels that it may show and the memory that groups in work may take together."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.media.load import Clip, Picture, load, measure
from yoj_cli.media.options import DEFAULTS, MediaOptions

MANY_PIXELS = 34_000_000
"""Groups of more are prepared one at a time, whatever the threads: 16 frames in full HD are not among them."""

_alone = threading.Lock()


@contextmanager
def loaded_media(media: Sequence[Media], options: MediaOptions = DEFAULTS) -> Iterator[list[Picture | Clip]]:
    """A group's pictures and clips, in their order; one that is shown several times is loaded once.

    Use them inside: another group with many pixels waits for the end of the block.

    Raises:
        MediaError: one cannot be loaded, or together they have more pixels than a group may show.
    """
    n_shown = Counter(map(_key, media))
    distinct = {_key(medium): medium for medium in media}
    if len(media) * options.max_pixels > options.max_group_pixels:
        _check_headers([(medium, n_shown[key]) for key, medium in distinct.items()], options)
    loaded: dict[Hashable, Picture | Clip] = {}
    n_pixels, is_alone = 0, False
    with ExitStack() as stack:
        for key, medium in distinct.items():
            loaded[key] = load(medium, options)
            n_pixels += n_shown[key] * count_pixels(loaded[key])
            _check(n_pixels, options)
            if n_pixels > MANY_PIXELS and not is_alone:
                stack.enter_context(_alone)
                is_alone = True
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


def _renew_lock() -> None:
    global _alone
    _alone = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
"""A forked child has the lock as a thread of the parent left it."""
