"""Drawn pictures of about a wanted size in tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST_PX, LARGEST_PX = 32, 2048
"""Sides of a drawn picture."""
STEP_PX = 16
"""How exactly a side is looked for; no processor has patches smaller than 14 pixels."""


def draw_noise(side_px: int, seed: int) -> Image:
    """A square of coloured noise: no two patches of it are alike, and nothing can be learnt from it."""
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
    known = {SMALLEST_PX: count(SMALLEST_PX)}
    low = high = SMALLEST_PX
    while known[high] < n_tokens and high < LARGEST_PX:
        low, high = high, 2 * high
        known[high] = count(high)
    if known[high] < n_tokens:  # out of reach: the smallest side with the most there are
        low, n_tokens = SMALLEST_PX, known[high]
    while high - low > STEP_PX:
        middle = (low + high) // 2
        known[middle] = count(middle)
        low, high = (middle, high) if known[middle] < n_tokens else (low, middle)
    return min(known, key=lambda side: (abs(known[side] - n_tokens), side))
