"""All media of a group, within the pixels that a group may show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.media.load import Clip, Picture, load
from yoj_cli.media.options import DEFAULTS, MediaOptions


def load_group(media: Sequence[Media], options: MediaOptions = DEFAULTS) -> list[Picture | Clip]:
    """A group's pictures and clips, in their order; one that is shown several times is loaded once.

    Raises:
        MediaError: one cannot be loaded, or together they have more pixels than a group may show.
    """
    n_shown = Counter(map(_key, media))
    loaded: dict[Hashable, Picture | Clip] = {}
    n_pixels = 0
    for medium in media:
        key = _key(medium)
        if key in loaded:
            continue
        loaded[key] = load(medium, options)
        n_pixels += n_shown[key] * count_pixels(loaded[key])
        if n_pixels > options.max_group_pixels:
            raise MediaError(
                f"its pictures and clips have more than {options.max_group_pixels:,} pixels in all (--max-group-mp)",
                hint="Show fewer or smaller ones, or raise --max-group-mp.",
            )
    return [loaded[_key(medium)] for medium in media]


def count_pixels(loaded: Picture | Clip) -> int:
    """Of a picture, or of all frames that are shown of a clip."""
    if isinstance(loaded, Picture):
        return loaded.image.width * loaded.image.height
    n_frames, height, width, _ = loaded.frames.shape
    return int(n_frames * height * width)


def _key(medium: Media) -> Hashable:
    """Equal for media that are the same; a picture in memory is the same as itself alone."""
    return medium if isinstance(medium.source, str) else id(medium.source)
