"""How much of a picture or clip is taken, and where it may come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


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


DEFAULTS = MediaOptions()
