"""Making pictures and clips of a group smaller until they fit, as the released trainer does: fewer crops, fewer frames.

Source: github.com/yinuoyang01/multi-response-rm at 0b6c8bc, mr2rm/data/dataset.py (`_process_with_vision_budget`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from yoj_cli.media.load import Clip, Picture

MARGIN = 256
"""Tokens of a sequence that are kept free beside its text."""
CROPS = (4, 2, 1)
"""Numbers of crops that are tried after the processor's own."""


@dataclass(frozen=True)
class Shown:
    """How a group's media are shown.

    Attributes:
        media: pictures and clips as they were loaded, or clips with fewer frames.
        max_crops: most crops that a picture is cut into; None for the processor's own number.
    """

    media: Sequence[Picture | Clip]
    max_crops: int | None = None


def shrink(shown: Shown, own_crops: int | None, n_vision: int, room: int) -> Shown | None:
    """The next smaller way to show a group's media; None where there is none.

    Args:
        own_crops: the processor's number of crops a picture; None where the family cuts none.
        n_vision: tokens that the media take as they are shown.
        room: tokens that they may take.
    """
    clips = [medium for medium in shown.media if isinstance(medium, Clip)]
    if clips:
        n_frames = max(len(clip.times_s) for clip in clips)
        n_all = sum(len(clip.times_s) for clip in clips)
        n_fit = min(n_frames - 1, room // -(-n_vision // n_all) // len(clips))
        if n_fit < 1:
            return None
        media = [_with_frames(each, n_fit) if isinstance(each, Clip) else each for each in shown.media]
        return replace(shown, media=media)
    fewer = [n for n in CROPS if own_crops and n < (shown.max_crops or own_crops)]
    return replace(shown, max_crops=fewer[0]) if fewer else None


def _with_frames(clip: Clip, n: int) -> Clip:
    """A clip with n of its frames, evenly from the first to the last."""
    if len(clip.times_s) <= n:
        return clip
    kept = np.linspace(0, len(clip.times_s) - 1, n, dtype=int)
    return Clip(
        frames=clip.frames[kept],
        times_s=tuple(clip.times_s[index] for index in kept),
        duration_s=clip.duration_s,
        digest=f"{clip.digest}, {n} frames",
    )
