"""How much of a picture or clip is taken, and whether the network is asked for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import MediaError

DEFAULT_MAX_FRAMES = 16
"""What the published weights were trained on (arXiv 2604.10966)."""


class Downloaded:
    """Bytes that were fetched so far, counted by several threads; in another process they are counted anew."""

    def __init__(self) -> None:
        self._lock, self._n_bytes = threading.Lock(), 0

    def add(self, n_bytes: int) -> int:
        """Count some more. Returns the sum."""
        with self._lock:
            self._n_bytes += n_bytes
            return self._n_bytes

    def __reduce__(self) -> tuple[type[Downloaded], tuple[()]]:
        return Downloaded, ()


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """The limits of media; where they are found is each medium's own (`Media.path`, `Media.root`).

    Attributes:
        allow_remote: http(s) addresses may be fetched (--allow-remote-media).
        allow_private: from loopback and private networks too (--allow-private-media).
        max_frames: frames shown of one clip or folder, >= 1; None is the judge's, or DEFAULT_MAX_FRAMES without one.
        max_pixels: width x height of a picture or a clip's frame.
        max_clip_pixels: of all frames that are shown of one clip or folder.
        max_group_pixels: of all pictures and clips that are shown in one group.
        max_download_bytes: size of a fetched file.
        max_total_download_bytes: of all files that are fetched under these options, and those made of them.
        timeout_s: time for one download, and for decoding one clip.
        is_wanted: asked before each picture, clip and frame; when it is not, no further one is read.
    """

    allow_remote: bool = False
    allow_private: bool = False
    max_frames: int | None = None
    max_pixels: int = LIMITS.picture_pixels
    max_clip_pixels: int = LIMITS.clip_pixels
    max_group_pixels: int = LIMITS.group_pixels
    max_download_bytes: int = 256 << 20
    max_total_download_bytes: int = 100 << 30
    timeout_s: float = 60.0
    downloaded: Downloaded = field(default_factory=Downloaded, compare=False, repr=False)
    is_wanted: Callable[[], bool] = field(default=_always, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, not {self.max_frames}")

    @classmethod
    def within(cls, limits: Limits, **options: Any) -> MediaOptions:
        """With the pixels that `limits` allow, and other fields of this class."""
        return cls(
            max_pixels=limits.picture_pixels,
            max_clip_pixels=limits.clip_pixels,
            max_group_pixels=limits.group_pixels,
            **options,
        )

    def count_download(self, n_bytes: int) -> None:
        """Count bytes that came from the network.

        Raises:
            MediaError: with them, all downloads together are over the limit.
        """
        if self.downloaded.add(n_bytes) > self.max_total_download_bytes:
            raise MediaError(
                f"all downloads together are over the limit of {self.max_total_download_bytes:,} bytes",
                hint="Raise it (--max-total-download-gb), or download the files first.",
            )

    @property
    def n_frames(self) -> int:
        """Frames shown of one clip or folder, where nobody has another number."""
        return DEFAULT_MAX_FRAMES if self.max_frames is None else self.max_frames


DEFAULTS = MediaOptions()
