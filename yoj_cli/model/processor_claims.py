"""What a processor's files make of a picture, before it is made: a stranger's could ask for any size."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoj_cli.errors import CheckpointError

MAX_SHOWN_PIXELS = 1 << 25
"""That a picture is scaled to, all its crops together: 400 MB of float32. Molmo2's own are 1.3 M."""
MAX_FRAME_PIXELS = 1 << 22
"""The same of a frame of a clip."""
MAX_PICTURE_TOKENS = 1 << 17
"""Of the largest picture that is read (89 M pixels); Qwen3-VL, with its upper limit taken away, has 87,381."""
LARGEST_PICTURE_PIXELS = 89_478_485

FACTORS = ("patch_size", "merge_size", "pooling_size", "temporal_patch_size", "max_crops")
LARGEST_FACTOR = 4096


def check_processor_sizes(processor: Any, folder: Path) -> None:
    """Refuse sizes by which any small picture would become a huge one.

    Args:
        processor: of a family that reads media.
        folder: its files, for errors.
    Raises:
        CheckpointError: naming the number.
    """
    for kind, most in (("image_processor", MAX_SHOWN_PIXELS), ("video_processor", MAX_FRAME_PIXELS)):
        said = getattr(processor, kind).to_dict()
        _check_factors(said, kind, folder)
        smallest, largest = _shown_pixels(said, kind, folder)
        if smallest > most:
            raise CheckpointError(
                f"the {kind} scales any picture to {smallest:,} pixels, and the limit is {most:,}",
                where=str(folder),
            )
        side = (
            _first(said.get("patch_size")) * _first(said.get("merge_size")) * _first(said.get("pooling_size"))
        )
        n_tokens = min(largest, LARGEST_PICTURE_PIXELS) // side**2
        if n_tokens > MAX_PICTURE_TOKENS:
            raise CheckpointError(
                f"the {kind} makes {n_tokens:,} tokens of a picture, and the limit is {MAX_PICTURE_TOKENS:,}",
                where=str(folder),
            )


def _check_factors(said: Mapping[str, Any], kind: str, folder: Path) -> None:
    for key in FACTORS:
        value = said.get(key)
        values = value if isinstance(value, (list, tuple)) else [value]
        is_right = values and all(
            isinstance(each, int) and not isinstance(each, bool) and 0 < each <= LARGEST_FACTOR
            for each in values
        )
        if value is not None and not is_right:
            raise CheckpointError(
                f"{key} of the {kind} is {reprlib.repr(value)}, not a whole number from 1 to {LARGEST_FACTOR:,}",
                where=str(folder),
            )


def _shown_pixels(said: Mapping[str, Any], kind: str, folder: Path) -> tuple[int, int]:
    """What the smallest and the largest picture are scaled to."""
    size = said.get("size")
    size = size if isinstance(size, Mapping) else {}
    numbers = {key: value for key, value in size.items() if value is not None}
    if not all(
        isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in numbers.values()
    ):
        raise CheckpointError(f"size of the {kind} is {dict(numbers)!r}, which is none", where=str(folder))
    crops = 1 + (_first(said["max_crops"]) if said.get("max_crops") else 0)  # one of the whole
    if "height" in numbers and "width" in numbers:
        shown = crops * numbers["height"] * numbers["width"]
        return shown, shown
    return numbers.get("shortest_edge", 1), numbers.get("longest_edge", LARGEST_PICTURE_PIXELS)


def _first(value: Any) -> int:
    """A factor; the smaller one of two."""
    return min(value) if isinstance(value, (list, tuple)) else int(value or 1)
