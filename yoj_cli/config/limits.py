"""What one group may cost, whoever wrote it: bounds that hold before anything is parsed, decoded or tokenized.

Characters of a text have no option of their own: how many may be read follows from --max-tokens; see
`sequence/text_bound.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from yoj_cli.config.field import Options, option, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits(Options):
    """What a line of a file may hold."""

    max_line_mb: float = option(
        64.0, "Refuse a longer line of a file, without reading it whole.", metavar="MB", check=positive
    )
    max_line_values: int = option(
        1_000_000,
        "Refuse a line of more texts, numbers, lists and objects, before it is parsed.",
        metavar="N",
        check=positive,
    )

    @property
    def max_line_bytes(self) -> int:
        return int(self.max_line_mb * (1 << 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(LineLimits):
    """What a line and its group may hold; MP are millions of pixels.

    A decoded pixel takes 3 bytes, and while a family's processor works on it some 27 (a picture) or 12 (a clip) more:
    the defaults keep a group within 2 GB, and let through 16 frames of 4K or eight pictures of a telephone.
    """

    max_responses: int = option(1024, "Refuse a group of more responses.", metavar="N", check=positive)
    max_media: int = option(64, "Refuse a group of more pictures and clips.", metavar="N", check=positive)
    max_picture_mp: float = option(
        50.4,
        "Refuse a picture, or a clip's frame, of more million pixels.",
        metavar="MP",
        check=positive,
    )
    max_clip_mp: float = option(
        136.0,
        "Refuse a clip whose frames, as many as are read, have more million pixels in all.",
        metavar="MP",
        check=positive,
    )
    max_group_mp: float = option(
        136.0,
        "Refuse a group whose pictures and clips have more million pixels in all.",
        metavar="MP",
        check=positive,
    )

    @property
    def picture_pixels(self) -> int:
        return int(self.max_picture_mp * 1_000_000)

    @property
    def clip_pixels(self) -> int:
        return int(self.max_clip_mp * 1_000_000)

    @property
    def group_pixels(self) -> int:
        return int(self.max_group_mp * 1_000_000)


LIMITS = Limits()
"""The defaults."""
