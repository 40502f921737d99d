"""Which frames of a clip are shown: instants from the duration alone, then the frame on screen at each.

The Molmo2 weights were trained on exactly these instants.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

MAX_FRAMES_PER_SECOND = 2


def sample_times(duration_s: Fraction, max_frames: int) -> list[Fraction]:
    """The instants at which a clip is looked at, in seconds from its first frame.

    At most 2 a second with the last instant always the end; a clip longer than (max_frames - 1) / 2
    seconds is spread evenly, both ends included. A single instant is the start.

    Source: sample_times in molmo-utils 0.0.1, "uniform_last_frame" with max_fps 2, in exact arithmetic.
    """
    step = Fraction(1, MAX_FRAMES_PER_SECOND)
    if duration_s > (max_frames - 1) * step:
        gaps = max(max_frames - 1, 1)
        return [duration_s * i / gaps for i in range(max_frames)]
    times = [i * step for i in range(-int(-duration_s // step))]
    return [*times, duration_s]


@dataclass(frozen=True)
class Timeline:
    """When each frame of a clip comes on screen, in display order.

    Attributes:
        pts: (F,) int, in units of `unit_s`.
        order: (F,) place in decoding order: a frame can only depend on frames of a smaller one.
        dts: (F,) int, where a seek to this frame has to aim.
        is_key: (F,) decoding can start here.
        end: int, when the last frame goes off screen, in units of `unit_s`.
        is_counted: the container gives no times, so `pts` counts decoded frames at the nominal rate.
    """

    pts: tuple[int, ...]
    order: tuple[int, ...]
    dts: tuple[int, ...]
    is_key: tuple[bool, ...]
    end: int
    unit_s: Fraction
    is_counted: bool = False

    @property
    def duration_s(self) -> Fraction:
        return (self.end - self.pts[0]) * self.unit_s

    def start_s(self, index: int) -> Fraction:
        return (self.pts[index] - self.pts[0]) * self.unit_s

    def shown_at(self, time_s: Fraction) -> int:
        """Index of the frame on screen `time_s` after the first one came up."""
        return max(bisect_right(self.pts, self.pts[0] + time_s / self.unit_s) - 1, 0)

    @property
    def is_closed(self) -> bool:
        """No frame shown before a key frame is decoded after it."""
        highest = accumulate(self.order, max)
        return all(self.order[i] == top for i, top in enumerate(highest) if self.is_key[i])

    @property
    def is_increasing(self) -> bool:
        """No two frames have one time."""
        return all(a < b for a, b in pairwise(self.pts))

    def key_before(self, index: int) -> int:
        """Index of the frame from which decoding has to start to reach `index`."""
        return next((k for k in range(index, 0, -1) if self.is_key[k]), 0)
