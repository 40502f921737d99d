"""How much of a picture or clip is taken, and whether the network is asked for it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MAX_FRAMES = 16
"""What the published weights were trained on (arXiv 2604.10966)."""


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """The limits of media; where they are found is each medium's own (`Media.path`, `Media.root`).

    Attributes:
        allow_remote: http(s) addresses may be fetched (--allow-remote-media).
        max_frames: frames shown of one clip or folder, >= 1; None is the judge's, or DEFAULT_MAX_FRAMES without one.
        max_pixels: width x height of a picture or a clip's frame; the default is where Pillow starts to warn.
        max_download_bytes: size of a fetched file.
        timeout_s: time for one download, and for decoding one clip.
    """

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
