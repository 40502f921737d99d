"""What a processor's files make of a picture or a text, before it is made: a stranger's could ask for any size."""

from __future__ import annotations

import base64
import json
import math
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

MAX_GROWTH = 64
"""How many times as long a tokenizer's normalizer may make a text; those that are known make it hardly longer."""


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
        values = said.get(key)
        for value in values if isinstance(values, (list, tuple)) else [values]:
            is_right = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_FACTOR
            if value is not None and not is_right:
                raise CheckpointError(
                    f"{key} of the {kind} is {value!r}, not a whole number from 1 to {LARGEST_FACTOR:,}",
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
    crops = int(said.get("max_crops") or 0) + 1  # and one of the whole
    if "height" in numbers and "width" in numbers:
        shown = crops * numbers["height"] * numbers["width"]
        return shown, shown
    return numbers.get("shortest_edge", 1), numbers.get("longest_edge", LARGEST_PICTURE_PIXELS)


def _first(value: Any) -> int:
    """A factor; the smaller one of two."""
    return min(value) if isinstance(value, (list, tuple)) else int(value or 1)


def check_normalizer(tokenizer: Any, folder: Path) -> None:
    """Refuse replacements by which a short text would fill the memory.

    Args:
        tokenizer: with a `backend_tokenizer`.
        folder: its files, for errors.
    Raises:
        CheckpointError: it makes texts too long.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None and _growth(json.loads(normalizer.__getstate__())) > MAX_GROWTH:
        raise CheckpointError(
            f"its normalizer may make a text more than {MAX_GROWTH} times as long",
            where=str(folder / "tokenizer.json"),
        )


def _growth(step: Mapping[str, Any]) -> float:
    """How many times as long a text may become, of a normalizer or one of its steps."""
    if step["type"] == "Sequence":
        return math.prod(map(_growth, step["normalizers"]))
    if step["type"] == "Prepend":
        return 1 + len(step["prepend"])
    if step["type"] == "Replace":
        replaced = step["pattern"].get("String", "x")  # a regular expression may match one character, or none
        return max(1.0, len(step["content"]) / max(1, len(replaced)))
    if (
        step["type"] == "Precompiled"
    ):  # sentencepiece's: the bytes of an index, its entries, and what they stand for
        table = base64.b64decode(step["precompiled_charsmap"])
        entries = table[4 + int.from_bytes(table[:4], "little") :]
        return max(1, *map(len, entries.split(b"\0")))
    return 1.0
