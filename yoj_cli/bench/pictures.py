"""Drawn pictures and clips of about a wanted size in tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from yoj_cli.media.load import Clip

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST_PX, LARGEST_PX = 32, 2048
"""Sides of a drawn picture."""
STEP_PX = 16
"""How exactly a side is looked for; no processor has patches smaller than 14 pixels."""
FRAME_PX, FEWEST_FRAMES, MOST_FRAMES = 256, 2, 384
"""Side of a drawn clip's frames, and how many it may have: Qwen3-VL joins two, the official code takes up to 384."""
FRAMES_PER_SECOND = 2


def draw_noise(side_px: int, seed: int) -> Image:
    """A square of coloured noise: no two patches of it are alike."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def find_side(n_tokens: int, count: Callable[[int], int]) -> int:
    """The side of the square whose picture tokens come nearest to a number.

    Processors know a few sizes only (Molmo2 whole crops, say), so the nearest may be far.

    Args:
        n_tokens: picture tokens wanted, at least 1.
        count: picture tokens of a square of that many pixels; never fewer for a larger one.
    Returns:
        Pixels; the smallest side where several give the same.
    """
    return _find_size(n_tokens, count, SMALLEST_PX, LARGEST_PX, STEP_PX)


def draw_clip(n_frames: int, seed: int) -> Clip:
    """Frames of coloured noise, shown at the rate that clips are sampled at."""
    import numpy as np

    shape = (n_frames, FRAME_PX, FRAME_PX, 3)
    frames = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    times_s = tuple(index / FRAMES_PER_SECOND for index in range(n_frames))
    return Clip(frames, times_s, n_frames / FRAMES_PER_SECOND, f"noise {seed} {n_frames}")


def find_n_frames(n_tokens: int, count: Callable[[int], int]) -> int:
    """The number of frames whose tokens come nearest to a number.

    Args:
        n_tokens: clip tokens wanted, at least 1.
        count: clip tokens of so many frames.
    """
    return _find_size(n_tokens, count, FEWEST_FRAMES, MOST_FRAMES, 1)


def _find_size(n_tokens: int, count: Callable[[int], int], smallest: int, largest: int, step: int) -> int:
    """The size whose tokens come nearest to a number, looked for by halves; the smallest where several do."""
    known = {smallest: count(smallest)}
    low = high = smallest
    while known[high] < n_tokens and high < largest:
        low, high = high, min(2 * high, largest)
        known[high] = count(high)
    if known[high] < n_tokens:  # out of reach: the smallest size with the most there are
        low, n_tokens = smallest, known[high]
    while high - low > step:
        middle = (low + high) // 2
        known[middle] = count(middle)
        low, high = (middle, high) if known[middle] < n_tokens else (low, middle)
    return min(known, key=lambda size: (abs(known[size] - n_tokens), size))
