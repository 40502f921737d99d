"""Bytes or a Pillow image -> one upright, opaque RGB picture; every odd colour mode is dealt with here."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from yoj_cli.errors import MediaError
from yoj_cli.media.endings import is_cut_short

FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "AVIF",
    "JPEG2000",
    "PPM",
    "ICO",
)
"""What is opened, by Pillow's names: formats that people hand in and that are decoded in this process. Pillow knows
more, and starts another program for some (Ghostscript for EPS)."""
HINT_BROKEN = "Replace the file, or open and save it again as PNG or JPEG."
HINTS_SEVERAL = {
    "TIFF": "Save the page that is meant as a file of its own; several pages are several images.",
    "WEBP": "Save the frame that is meant as PNG, or convert all to GIF or MP4 and give it as a video.",
}
HINT_ANIMATION = "Give it as a video, or save the frame that is meant as PNG."
TIFF_SUBFILE_TYPE, TIFF_REDUCED, TIFF_MASK = 254, 1, 4


def read_picture(file: BinaryIO, *, where: str, max_pixels: int) -> Image.Image:
    """The picture in an open file, whatever its name says; nothing is decoded before its size is known.

    Raises:
        MediaError: no picture in it or several, too large, or damaged.
    """
    with _open(file, where=where, max_pixels=max_pixels) as image:
        return convert_picture(image, where=where, max_pixels=max_pixels)


def check_picture(file: BinaryIO, *, where: str, max_pixels: int) -> None:
    """Read the headers only.

    Raises:
        MediaError: no picture in it or several, too large, or cut short.
    """
    with _open(file, where=where, max_pixels=max_pixels) as image:
        _check_one(image, where)


def convert_picture(image: Image.Image, *, where: str, max_pixels: int) -> Image.Image:
    """A new RGB image: decoded, turned upright as its EXIF says, transparency composited on white.

    Raises:
        MediaError: too large, damaged, one of several, or of a mode that has no agreed way to RGB.
    """
    _check_size(image, where, max_pixels)
    _check_one(image, where)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plug-ins raise whatever their parser trips over
        raise _damaged(error, where) from error
    return _convert_to_rgb(_turn_upright(image), where)


def picture_digest(image: Image.Image) -> str:
    """A name for the pixels themselves: equal exactly when two RGB pictures are."""
    digest = hashlib.blake2b(f"picture {image.width}x{image.height}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.hexdigest()


def _open(file: BinaryIO, *, where: str, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise MediaError(
            "not a picture in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PPM, ICO)",
            where=where,
            hint="Get the file again if it is cut short, else convert it to PNG or JPEG; a clip is given as a video.",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("its header claims more than Pillow accepts", where, max_pixels) from error
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise _damaged(error, where) from error
    _check_size(image, where, max_pixels)
    place = file.tell()
    if is_cut_short(file):
        raise MediaError("the picture is damaged: its end is missing", where=where, hint=HINT_BROKEN)
    file.seek(place)  # where Pillow left it
    return image


def _check_one(image: Image.Image, where: str) -> None:
    """Refuse animations and several pages: which of them is meant is not ours to guess."""
    try:
        n_pictures = _count_pictures(image)
    except Exception as error:  # as above
        raise _damaged(error, where) from error
    if n_pictures > 1:
        what = "pages" if image.format == "TIFF" else "frames"
        raise MediaError(
            f"it has {n_pictures} {what}, and an image is one picture",
            where=where,
            hint=HINTS_SEVERAL.get(image.format or "", HINT_ANIMATION),
        )


def _count_pictures(image: Image.Image) -> int:
    """Frames or pages; views of one and the same picture count once.

    Those are the previews in a camera's JPEG (MPO), and in a TIFF its thumbnails, smaller sizes and masks.
    """
    if image.format == "MPO":
        return 1
    try:
        n_pictures = int(getattr(image, "n_frames", 1))
    except ValueError as error:
        if "closed" in str(error):  # a picture in memory whose file is gone: what was decoded is all there is
            return 1
        raise
    if image.format != "TIFF" or n_pictures == 1:
        return n_pictures
    shown, views = image.tell(), 0
    for page in range(n_pictures):
        image.seek(page)
        kind = image.tag_v2.get(TIFF_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
        views += bool(page and kind & (TIFF_REDUCED | TIFF_MASK))
    image.seek(shown)
    return n_pictures - views


def _damaged(error: Exception, where: str) -> MediaError:
    reason = str(error).rstrip(".") or type(error).__name__
    return MediaError(f"the picture is damaged: {reason}", where=where, hint=HINT_BROKEN)


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


def _turn_upright(image: Image.Image) -> Image.Image:
    """A copy, turned and mirrored as its EXIF block says."""
    upright = image.copy()
    # A broken EXIF block says nothing about the pixels, and viewers ignore it too. Pillow turns the pixels first and
    # then rewrites the block, so that even one that it cannot write back is obeyed.
    with suppress(Exception):
        ImageOps.exif_transpose(upright, in_place=True)
    return upright


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
    """Composite an RGBA picture on white, as a viewer does."""
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
