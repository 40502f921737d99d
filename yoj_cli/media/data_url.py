"""A picture as a data: URL, small enough for a page or a log."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL.Image import Image

QUALITY = 82


def jpeg_data_url(image: Image, longest_px: int) -> str:
    """The picture as a JPEG, scaled down so that its longer side is at most `longest_px`.

    Args:
        image: RGB.
    """
    scaled = image.copy()
    scaled.thumbnail((longest_px, longest_px), reducing_gap=2.0)
    file = BytesIO()
    scaled.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
