"""Bytes or a Pillow image -> one upright, opaque RGB picture; every odd colour mode is dealt with here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from blake3 import blake3
from PIL import Image, ImageOps, UnidentifiedImageError

from yoj_cli.errors import MediaError
from yoj_cli.media.endings import is_cut_short
from yoj_cli.media.hints import HINT_BROKEN, HINT_TOO_LARGE

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
HINTS_SEVERAL = {
    "TIFF": "Save the page that is meant as a file of its own; several pages are several images.",
    "WEBP": "Save the frame that is meant as PNG, or convert all to GIF or MP4 and give it as a video.",
}
HINT_ANIMATION = "Give it as a video, or save the frame that is meant as PNG."
BAND_PX = 1 << 20
"""What a picture larger than this is converted and read in, so that its peak of memory is hardly above itself."""
DIGEST_BYTES = 16
TIFF_SUBFILE_TYPE, TIFF_REDUCED, TIFF_MASK = 254, 1, 4


def read_small_picture(
    file: BinaryIO, *, where: str, max_pixels: int, small_pixels: int
) -> Image.Image | tuple[int, int]:
    """The picture in an open file, whatever its name says; of one of more than `small_pixels` the headers only.

    Nothing is decoded before its size is known.

    Returns:
        The picture, or width and height by its headers.
    Raises:
        MediaError: no picture in it or several, too large, or damaged.
    """
    with _open(file, where=where, max_pixels=max_pixels) as image:
        if image.width * image.height <= small_pixels:
            return convert_picture(image, where=where, max_pixels=max_pixels)
        _check_one(image, where)
        return image.width, image.height


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


def picture_digest(image: Image.Image, keep: Callable[[bytes], object] = lambda _: None) -> str:
    """A name for the pixels themselves: equal exactly when two RGB pictures are.

    Args:
        keep: gets the pixels' bytes, three each, piece by piece.
    """
    digest = blake3(f"picture {image.width}x{image.height}".encode())
    for band in _cut_in_bands(image):
        pixels = band.tobytes()
        digest.update(pixels)
        keep(pixels)
    return digest.hexdigest(length=DIGEST_BYTES)


def _cut_in_bands(image: Image.Image) -> Iterator[Image.Image]:
    """The picture from top to bottom, so that what is made of a part is never as large as the whole."""
    n_rows = max(BAND_PX // image.width, 1)
    if n_rows >= image.height:
        yield image
        return
    for top in range(0, image.height, n_rows):
        yield image.crop((0, top, image.width, min(top + n_rows, image.height)))


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
        f"the picture is too large: {what}, and the limit is {max_pixels:,} pixels (--max-picture-mp)",
        where=where,
        hint=HINT_TOO_LARGE,
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
    """The image itself where it is RGB already."""
    mode = image.mode
    if mode == "RGB" and not image.has_transparency_data:
        return image
    convert: Callable[[Image.Image], Image.Image]
    if mode == "I" or mode.startswith("I;16"):
        _check_integers(image, where)
        convert = _grey_from_integers
    elif mode == "F":
        convert = partial(_grey_from_floats, white=_find_white(image, where))
    elif mode == "LAB":
        convert = partial(_convert_lab, where=where)
    else:
        convert = _convert_colours
    try:
        if image.width * image.height <= BAND_PX:
            return convert(image)
        whole, top = Image.new("RGB", image.size), 0
        for band in _cut_in_bands(image):
            whole.paste(convert(band), (0, top))
            top += band.height
    except ValueError as error:
        raise _no_way_to_rgb(f"colour mode {mode}", where) from error
    return whole


def _convert_colours(image: Image.Image) -> Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if not image.has_transparency_data:
        return image.convert("RGB")
    # As a viewer does: on white.
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def _find_range(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value of grey; NaN where one is."""
    import numpy as np

    ranges = [(values.min(), values.max()) for values in map(np.asarray, _cut_in_bands(image))]
    return np.min(ranges).item(), np.max(ranges).item()


def _check_integers(image: Image.Image, where: str) -> None:
    low, high = _find_range(image)
    if low < 0 or high > 65535:
        raise _no_way_to_rgb(f"32-bit grey values from {low} to {high}", where)


def _grey_from_integers(image: Image.Image) -> Image.Image:
    """16-bit grey: 0..65535 becomes 0..255; Pillow's own convert() clips all above 255 to white."""
    import numpy as np

    values = np.asarray(image).astype(np.int64)
    grey = ((values + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _find_white(image: Image.Image, where: str) -> int:
    """Floating grey: 0..1 when nothing is above 1, else 0..255; any other range has no agreed white."""
    low, high = _find_range(image)
    if not (low >= 0 and high <= 255):  # NaN fails too
        raise _no_way_to_rgb(f"floating-point grey values from {low:g} to {high:g}", where)
    return 1 if high <= 1 else 255


def _grey_from_floats(image: Image.Image, white: int) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    scaled = values * 255 if white == 1 else values
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
