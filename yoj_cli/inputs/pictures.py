"""Bytes or a Pillow image -> one upright, opaque RGB picture; every odd colour mode is dealt with here."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from yoj_cli.errors import MediaError

EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HINT_BROKEN = "Replace the file, or open and save it again as PNG or JPEG."


def read_picture(file: BinaryIO, *, where: str, max_pixels: int) -> Image.Image:
    """The first picture of an open file, whatever its name says; nothing is decoded before its size is known.

    Raises:
        MediaError: no picture in it, too large, or damaged.
    """
    with _open(file, where=where, max_pixels=max_pixels) as image:
        return convert_picture(image, where=where, max_pixels=max_pixels)


def check_picture(file: BinaryIO, *, where: str, max_pixels: int) -> None:
    """Read the header only.

    Raises:
        MediaError: no picture in it, or too large.
    """
    with _open(file, where=where, max_pixels=max_pixels) as image:
        _check_size(image, where, max_pixels)


def convert_picture(image: Image.Image, *, where: str, max_pixels: int) -> Image.Image:
    """A new RGB image: decoded, turned upright as its EXIF says, transparency laid on white.

    Raises:
        MediaError: too large, damaged, or of a mode that has no agreed way to RGB.
    """
    _check_size(image, where, max_pixels)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plug-ins raise whatever their parser trips over
        reason = str(error).rstrip(".") or type(error).__name__
        raise MediaError(f"the picture is damaged: {reason}", where=where, hint=HINT_BROKEN) from error
    turn = UPRIGHT.get(_read_orientation(image))
    rgb = _convert_to_rgb(image, where)
    return rgb if turn is None else rgb.transpose(turn)


def picture_digest(image: Image.Image) -> str:
    """A name for the pixels themselves: equal exactly when two RGB pictures are."""
    digest = hashlib.blake2b(f"picture {image.width}x{image.height}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.hexdigest()


def _open(file: BinaryIO, *, where: str, max_pixels: int) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError as error:
        raise MediaError(
            "not a picture that Pillow can read",
            where=where,
            hint='Convert it to PNG or JPEG; a clip belongs in "video".',
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("its header claims more than Pillow accepts", where, max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # as above
        reason = str(error).rstrip(".") or type(error).__name__
        raise MediaError(f"the picture cannot be opened: {reason}", where=where, hint=HINT_BROKEN) from error


def _check_size(image: Image.Image, where: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise MediaError(f"the picture is empty: {width} x {height} pixels", where=where, hint=HINT_BROKEN)
    if width * height > max_pixels:
        raise _too_large(f"it is {width} x {height} pixels", where, max_pixels)


def _too_large(what: str, where: str, max_pixels: int) -> MediaError:
    return MediaError(
        f"the picture is too large: {what}, and the limit is {max_pixels:,} pixels",
        where=where,
        hint="Scale it down; the judge looks at far fewer pixels than this.",
    )


def _read_orientation(image: Image.Image) -> int:
    """1..8; 1 (upright) where there is no EXIF block, or one that nobody can read."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels; viewers ignore it too
        return 1


def _convert_to_rgb(image: Image.Image, where: str) -> Image.Image:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        return _grey_from_integers(image, where)
    if mode == "F":
        return _grey_from_floats(image, where)
    if mode == "LAB":
        return _convert_lab(image, where)
    try:
        if mode in ("La", "RGBa"):  # premultiplied
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        if image.has_transparency_data:
            return _flatten(image.convert("RGBA"))
        return image.convert("RGB")
    except ValueError as error:
        raise _no_way_to_rgb(f"colour mode {mode}", where) from error


def _flatten(image: Image.Image) -> Image.Image:
    """Lay an RGBA picture on white paper, as a viewer does."""
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image).convert("RGB")


def _grey_from_integers(image: Image.Image, where: str) -> Image.Image:
    """16-bit grey: 0..65535 becomes 0..255; Pillow's own convert() clips all above 255 to white."""
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise _no_way_to_rgb(f"32-bit grey values from {low} to {high}", where)
    grey = ((values + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _grey_from_floats(image: Image.Image, where: str) -> Image.Image:
    """Floating grey: 0..1 when nothing is above 1, else 0..255; any other range has no agreed white."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # NaN fails too
        raise _no_way_to_rgb(f"floating-point grey values from {low:g} to {high:g}", where)
    scaled = values * 255 if high <= 1 else values
    return Image.fromarray(np.rint(scaled).astype(np.uint8)).convert("RGB")


def _convert_lab(image: Image.Image, where: str) -> Image.Image:
    try:
        from PIL import ImageCms

        to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        converted = ImageCms.applyTransform(image, to_rgb)
    except (ImportError, ValueError, OSError) as error:
        raise _no_way_to_rgb("colour mode LAB", where) from error
    if converted is None:
        raise _no_way_to_rgb("colour mode LAB", where)
    return converted


def _no_way_to_rgb(what: str, where: str) -> MediaError:
    return MediaError(
        f"the picture has {what}, which has no agreed meaning as colours",
        where=where,
        hint="Convert it to 8-bit RGB or grey first.",
    )
