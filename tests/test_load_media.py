"""Pictures and folders of frames in every shape they come in; clips through the same door."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media, local_path
from yoj_cli.media import load as media_module
from yoj_cli.media.load import Clip, Picture, even_indices, load
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import parse

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(autouse=True, scope="module")
def _workers_end() -> Iterator[None]:
    yield
    media_module.close()


def load_medium(kind: Any, source: Any, spacing: float | None = None, **options: Any) -> Picture | Clip:
    """As a line names it whose file lies in `folder`, with --media-root `root`."""
    folder, root = options.pop("folder", ""), options.pop("root", None)
    source = str(source) if isinstance(source, Path) else source
    path = local_path(source, str(folder or root or ""))
    return load(Media(kind, source, spacing, path, root and str(root)), MediaOptions(**options))


def load_picture(source: str | Path | Image.Image, **options: Any) -> Image.Image:
    picture = load_medium("image", source, **options)
    assert isinstance(picture, Picture)
    assert picture.image.mode == "RGB"
    return picture.image


def load_clip(
    source: str | Path, *, kind: Any = "video", spacing: float | None = None, **options: Any
) -> Clip:
    clip = load_medium(kind, source, spacing, **options)
    assert isinstance(clip, Clip)
    assert clip.frames.dtype == np.uint8
    assert clip.frames.shape[0] == len(clip.times_s)
    return clip


def refusal(source: str | Path, kind: Any = "image", **options: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        load_medium(kind, source, **options)
    return caught.value


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png(image: Image.Image | None = None) -> bytes:
    buffer = io.BytesIO()
    (image or Image.new("RGB", (3, 2), RED)).save(buffer, "PNG")
    return buffer.getvalue()


def write_clip(path: Path, n_frames: int = 8) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(n_frames):
            frame = np.full((48, 64, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


# Colour modes


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", RED, RED),
        ("L", 200, (200, 200, 200)),
        ("1", 1, WHITE),
        ("I;16", 65535, WHITE),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I", 65535, WHITE),
        ("F", 0.5, (128, 128, 128)),
        ("F", 200.0, (200, 200, 200)),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), WHITE),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (0, 0), WHITE),
        ("PA", None, None),
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (255, 128, 128), WHITE),
        ("HSV", (0, 255, 255), RED),
        ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
        ("RGBa", (0, 0, 0, 0), WHITE),
    ],
)
def test_every_colour_mode_becomes_rgb(mode: str, colour: Any, expected: Any) -> None:
    if mode == "PA":
        image, expected = Image.new("P", (4, 3), 0), WHITE
        image.putalpha(0)
        assert image.mode == "PA"
    else:
        image = Image.new(mode, (4, 3), colour)
    pixel = load_picture(image).getpixel((1, 1))
    assert pixel == pytest.approx(expected, abs=1)


def test_lab_becomes_rgb() -> None:
    srgb, cie_lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(srgb, cie_lab, "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (4, 3), (200, 50, 50)), to_lab)
    assert lab is not None
    assert lab.mode == "LAB"
    assert load_picture(lab).getpixel((0, 0)) == pytest.approx((200, 50, 50), abs=3)


def test_sixteen_bit_grey_files_keep_their_greys(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 64, 257 * 128, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        image = load_picture(save(Image.fromarray(values), tmp_path / name))
        assert np.asarray(image)[0, :, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("I", [[-1, 5]]),
        ("I", [[0, 70000]]),
        ("F", [[-0.5, 1.0]]),
        ("F", [[0.0, 1e4]]),
        ("F", [[0.0, np.nan]]),
    ],
)
def test_greys_without_an_agreed_white_are_an_error(mode: str, values: list[list[float]]) -> None:
    image = Image.fromarray(np.array(values, np.int32 if mode == "I" else np.float32))
    assert image.mode == mode
    with pytest.raises(MediaError, match="grey values from"):
        load(Media("image", image))


def test_transparent_palette_and_colour_key_are_laid_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    image = load_picture(save(palette, tmp_path / "p.png", transparency=0))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]
    image = load_picture(save(palette, tmp_path / "p.gif", transparency=0))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]
    key = Image.new("RGB", (2, 1), (9, 9, 9))
    key.putpixel((1, 0), BLUE)
    image = load_picture(save(key, tmp_path / "key.png", transparency=(9, 9, 9)))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [WHITE, BLUE]


def test_cmyk_jpeg_with_adobe_inversion(tmp_path: Path) -> None:
    path = save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in path.read_bytes()
    assert load_picture(path).getpixel((8, 8)) == pytest.approx(RED, abs=8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_orientation_is_applied(tmp_path: Path, name: str, orientation: int) -> None:
    upright = Image.new("RGB", (48, 32), WHITE)
    upright.paste(RED, (0, 0, 16, 16))  # top left
    upright.paste(BLUE, (32, 0, 48, 16))  # top right
    store = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if store is None else upright.transpose(Image.Transpose(store))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_picture(save(stored, tmp_path / name, exif=exif))
    assert image.size == (48, 32)
    assert image.getpixel((6, 6)) == pytest.approx(RED, abs=40)
    assert image.getpixel((42, 6)) == pytest.approx(BLUE, abs=40)


def test_an_unreadable_exif_block_leaves_the_picture_as_it_is(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (16, 8), RED), tmp_path / "a.jpg", exif=b"Exif\0\0garbage that is no TIFF")
    assert load_picture(path).size == (16, 8)


# Files


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(png())
    assert load_picture(path).getpixel((0, 0)) == RED


FORMATS = [f"a.{n}" for n in ("png", "jpg", "webp", "avif", "bmp", "tif", "gif", "ppm", "jp2", "dib", "ico")]


@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path: Path, name: str) -> None:
    if Path(name).suffix not in Image.registered_extensions():
        pytest.skip("this Pillow cannot write it")
    options = {"sizes": [(20, 10)]} if name == "a.ico" else {}  # Pillow's own choice begins at 16 x 16
    path = save(Image.new("RGB", (20, 10), RED), tmp_path / name, **options)
    assert load_picture(path).size == (20, 10)


def save_several(path: Path, **options: Any) -> Path:
    more = [Image.new("RGB", (20, 10), colour) for colour in (GREEN, BLUE)]
    return save(Image.new("RGB", (20, 10), RED), path, save_all=True, append_images=more, **options)


@pytest.mark.parametrize(
    ("name", "what", "way_out"),
    [
        ("a.gif", "3 frames", "Give it as a video"),
        ("a.png", "3 frames", "Give it as a video"),
        ("a.avif", "3 frames", "Give it as a video"),
        ("a.webp", "3 frames", "convert all to GIF or MP4"),
        ("a.tif", "3 pages", "Save the page"),
    ],
)
def test_one_of_several_pictures_is_not_guessed(tmp_path: Path, name: str, what: str, way_out: str) -> None:
    path = save_several(tmp_path / name)
    error = refusal(path)
    assert error.what == f"it has {what}, and an image is one picture"
    assert way_out in error.hint
    if "video" in way_out:
        assert load_clip(path).frames.shape[1:] == (10, 20, 3)
    with Image.open(path) as image, pytest.raises(MediaError, match=what):
        load(Media("image", image))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif", "a.avif"])
def test_an_animation_of_one_frame_is_a_picture(tmp_path: Path, name: str) -> None:
    path = save(Image.new("RGB", (20, 10), RED), tmp_path / name, save_all=True)
    assert load_picture(path).getpixel((3, 3)) == pytest.approx(RED, abs=10)
    with Image.open(path) as image:
        image.load()
    assert load_picture(image).size == (20, 10)  # its file is closed


def test_the_preview_in_a_cameras_picture_does_not_count(tmp_path: Path) -> None:
    assert load_picture(save_several(tmp_path / "a.jpg", format="MPO")).getpixel((3, 3)) == pytest.approx(
        RED, abs=10
    )


@pytest.mark.parametrize(("kind", "n_pages"), [(0, 2), (1, 1), (4, 1)])  # a page, a thumbnail, a mask
def test_thumbnails_in_a_tiff_do_not_count_as_pages(tmp_path: Path, kind: int, n_pages: int) -> None:
    second = Image.new("RGB", (20, 10), BLUE)
    second.encoderinfo = {"tiffinfo": {254: kind}}
    path = save(Image.new("RGB", (20, 10), RED), tmp_path / "a.tif", save_all=True, append_images=[second])
    if n_pages == 1:
        assert load_picture(path).getpixel((3, 3)) == RED
    else:
        assert "2 pages" in refusal(path).what


@pytest.mark.parametrize("name", ["a.eps", "a.pcx", "a.tga"])
def test_a_format_that_is_not_on_the_list_is_refused_and_starts_no_program(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(
        "PIL.EpsImagePlugin.gs_binary", None
    )  # as in a process that has not looked for it yet
    path = save(Image.new("RGB", (20, 10), RED), tmp_path / name)
    path = path.rename(path.with_suffix(".png"))  # the name promises another format
    error = refusal(path)
    assert error.what.startswith("not a picture in a format that is read (PNG, JPEG,")
    assert "convert it to PNG" in error.hint
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_thin_pictures_are_fine(tmp_path: Path, size: tuple[int, int]) -> None:
    assert load_picture(save(Image.new("RGB", size), tmp_path / "a.png")).size == size


def test_a_picture_in_memory_is_converted_and_left_alone() -> None:
    image = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    assert load_picture(image).getpixel((0, 0)) == WHITE
    assert image.mode == "RGBA"
    plain = Image.new("RGB", (4, 3), RED)
    assert load_picture(plain) is not plain


def test_digest_names_the_pixels(tmp_path: Path) -> None:
    def digest(image: Image.Image | str) -> str:
        return load(Media("image", image)).digest

    red = Image.new("RGB", (6, 4), RED)
    assert digest(red) == digest(str(save(red, tmp_path / "a.png"))) == digest(red.convert("RGBA"))
    others = {digest(Image.new("RGB", size, colour)) for size, colour in [((4, 6), RED), ((6, 4), BLUE)]}
    assert digest(red) not in others
    assert len(others) == 2


def test_missing_empty_folder_and_nonsense(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    for name, what in [
        ("none.png", "no such file"),
        ("empty.png", "empty"),
        ("text.png", "not a picture"),
        ("", "path is empty"),
        ("a\0b.png", "not a usable path"),
        ("x" * 5000, "cannot be read|not a usable path"),
        ("s3://bucket/a.png", "media on the network is not fetched unless that is allowed"),
        ("sftp://host/a.png", "sftp:// addresses cannot be read"),
        ("file://[::1", "not a usable path: Invalid IPv6 URL"),
    ]:
        error = refusal(name, folder=tmp_path)
        assert re.search(what, error.what), error
        assert error.hint
        assert error.exit_code == 2
    missing = refusal("none.png", folder=tmp_path)
    assert (missing.where, f"starts from {tmp_path})" in missing.hint) == ("none.png", True)
    assert f"from {Path.cwd()}), or name another folder with --media-root" in refusal("none.png").hint
    assert f"starts from {tmp_path})." in refusal("none.png", root=tmp_path).hint
    assert "folder" in refusal(tmp_path).what


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for kind in ("image", "video"):
        assert "not a regular file" in refusal(tmp_path / "a.png", kind).what


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (2, 2)), tmp_path / "a.png")
    path.chmod(0)
    assert "cannot be read" in refusal(path).what


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tif"])
def test_a_truncated_picture_is_an_error(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    error = refusal(path)
    assert "damaged" in error.what or "opened" in error.what or "not a picture" in error.what
    assert error.where == str(path)
    assert error.hint


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_cut_anywhere_is_an_error_or_whole(tmp_path: Path, name: str) -> None:
    y, x = np.mgrid[0:48, 0:64]
    image = Image.fromarray(np.stack([x * 4, y * 5, x * y % 256], -1).astype(np.uint8))
    path = save(image, tmp_path / name)
    data, whole = path.read_bytes(), np.asarray(load_picture(path))
    for share in range(1, 40):
        path.write_bytes(data[: len(data) * share // 40])
        if share > 35:  # all but the end marks of a few formats may be there
            with contextlib.suppress(MediaError):
                assert np.array_equal(load_picture(path), whole)
        else:
            error = refusal(path)
            assert (error.where, bool(error.hint)) == (str(path), True)


@pytest.mark.parametrize("n_frames", [1, 3])
def test_a_gif_without_its_end_is_an_error(tmp_path: Path, n_frames: int) -> None:
    frames = [Image.new("L", (20, 10), 90 * i) for i in range(n_frames)]
    path = save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    path.write_bytes(path.read_bytes()[:-1])
    assert "its end is missing" in refusal(path).what
    assert "cut short" in refusal(path, "video").what


def test_a_picture_over_the_limit_is_refused_before_decoding(tmp_path: Path) -> None:
    path = save(Image.new("L", (300, 200)), tmp_path / "a.png")
    damaged = path.read_bytes()[:60]  # decoding this would fail differently
    path.write_bytes(damaged)
    assert "300 x 200 pixels, and the limit is 59,999 pixels" in refusal(path, max_pixels=59_999).what
    assert "damaged" in refusal(path, max_pixels=60_000).what
    assert "too large" in str(refusal_of_memory(Image.new("L", (300, 200)), 59_999))


def refusal_of_memory(image: Image.Image, max_pixels: int) -> MediaError:
    with pytest.raises(MediaError) as caught:
        load(Media("image", image), MediaOptions(max_pixels=max_pixels))
    return caught.value


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    data = bytearray(png(Image.new("L", (1, 1))))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    assert "too large" in refusal(tmp_path / "bomb.png").what


def test_an_empty_picture_is_an_error() -> None:
    with pytest.raises(MediaError, match="0 x 5"):
        load(Media("image", Image.new("RGB", (0, 5))))


# Where files may come from


def test_relative_paths_start_from_their_folder_else_from_the_media_root_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    save(Image.new("RGB", (2, 2)), tmp_path / "in" / "a.png")
    load_picture("a.png", folder=tmp_path / "in")
    load_picture("in/a.png", root=tmp_path)
    load_picture("a.png", folder=tmp_path / "in", root=tmp_path)
    monkeypatch.chdir(tmp_path)
    load_picture("in/a.png")


def test_nothing_escapes_the_media_root(tmp_path: Path) -> None:
    inside, outside = tmp_path / "media", tmp_path / "media_secret"
    inside.mkdir()
    outside.mkdir()
    secret = save(Image.new("RGB", (2, 2)), outside / "a.png")
    (inside / "link.png").symlink_to(secret)
    (inside / "folder").symlink_to(outside, target_is_directory=True)
    (inside / "loop.png").symlink_to(inside / "loop.png")
    save(Image.new("RGB", (2, 2)), inside / "ok.png")
    (inside / "ok_link.png").symlink_to(inside / "ok.png")
    for escape in [
        "../media_secret/a.png",
        str(secret),
        "link.png",
        "folder/a.png",
        secret.as_uri(),
        "ok.png/../../media_secret/a.png",
        "../media_secret/none.png",
    ]:
        assert "outside the media root" in refusal(escape, root=inside).what, escape
    for kind in ("video", "frames"):
        assert "outside the media root" in refusal("folder", kind, root=inside).what
    assert refusal("loop.png", root=inside)
    load_picture("ok.png", root=inside)
    load_picture("ok_link.png", root=inside)
    load_picture(str(inside / "ok.png"), root=inside)


def test_a_link_inside_a_frame_folder_does_not_escape(tmp_path: Path) -> None:
    secret = save(Image.new("RGB", (2, 2)), tmp_path / "secret.png")
    (tmp_path / "media" / "frames").mkdir(parents=True)
    (tmp_path / "media" / "frames" / "1.png").symlink_to(secret)
    assert "outside" in refusal("frames", "frames", root=tmp_path / "media").what


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (2, 2), RED), tmp_path / "a b.png")
    assert load_picture(path.as_uri()).size == (2, 2)
    assert "cannot name the host" in refusal("file://example.com/a.png").what
    assert "not a usable path: Invalid IPv6 URL" in refusal("file://[::1").what


@pytest.mark.parametrize("kind", ["image", "video", "frames"])
def test_a_name_that_no_system_takes_is_refused(kind: str) -> None:
    assert refusal("x" * 5000, kind).what == "the file cannot be read: File name too long"


def test_data_urls(tmp_path: Path) -> None:
    packed = base64.b64encode(png()).decode()
    for url in [
        f"data:image/png;base64,{packed}",
        f"DATA:;base64,{packed}",
        f"data:image/png;base64,{packed.rstrip('=')}",
        f"data:image/png;base64,{packed[:20]}\n{packed[20:]}",
        f"data:image/png;base64,{quote(packed)}",
        f"data:image/jpeg,{quote(png())}",
    ]:
        assert load_picture(url, root=tmp_path).getpixel((0, 0)) == RED
    for url, what in [
        ("data:image/png;base64", "comma"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,!!!!", "base64"),
        ("data:text/plain,hello", "not a picture"),
    ]:
        assert what in refusal(url).what
    long = refusal("data:image/png;base64," + "A" * 10_000)
    assert len(long.where) < 60
    assert long.where.startswith("data:image/png;base64,AAAA")
    assert "limit is 5" in refusal(f"data:image/png;base64,{packed}", max_pixels=5).what


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body, status, headers = png(), 200, {}
        if self.path == "/missing":
            status = 404
        elif self.path == "/empty":
            body = b""
        elif self.path == "/short":
            headers["Content-Length"] = str(len(body) + 100)
        elif self.path == "/endless":
            headers["Content-Length"] = ""
            body *= 100
        elif self.path == "/slow":
            time.sleep(1.5)
        elif self.path.startswith("/to="):
            status, headers["Location"], body = 302, self.path[4:], b""
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_network_is_closed_unless_opened(server: str) -> None:
    error = refusal(f"{server}/a.png")
    assert "--allow-remote-media" in error.hint
    assert error.where == f"{server}/a.png"
    assert "--allow-remote-media" in refusal("https://example.com/a.mp4", "video").hint


def test_pictures_from_the_network(server: str, tmp_path: Path) -> None:
    allowed = {"allow_remote": True, "allow_private": True}
    assert load_picture(f"{server}/a.png", **allowed).getpixel((0, 0)) == RED
    assert load_picture(f"{server}/a.png", root=tmp_path, **allowed).size == (3, 2)
    assert load_picture(f"{server}/to={server}/a.png", **allowed).size == (3, 2)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("missing", "answered 404"),
        ("empty", "empty file"),
        ("short", "cut short"),
        ("endless", "larger than the limit"),
        ("slow", "within 0.5 s"),
        ("to=file:///etc/hostname", "not http or https"),
        ("to=ftp://127.0.0.1/a.png", "not http or https"),
    ],
)
def test_what_goes_wrong_on_the_network(server: str, path: str, what: str) -> None:
    limits = {"timeout_s": 0.5, "max_download_bytes": 2000}
    assert what in refusal(f"{server}/{path}", allow_remote=True, allow_private=True, **limits).what


def test_an_address_that_nobody_serves(server: str) -> None:
    error = refusal("http://127.0.0.1:9/a.png", allow_remote=True, allow_private=True)
    assert "cannot be reached" in error.what


# Folders of frames


def write_frames(folder: Path, names: list[str]) -> Path:
    """Frame i has the red value 10 * i."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        save(Image.new("RGB", (8, 6), (10 * i, 0, 0)), folder / name)
    return folder


def places(clip: Clip) -> list[int]:
    return [round(int(frame[3, 3, 0]) / 10) for frame in clip.frames]


def test_a_list_of_frames_is_read_in_its_order_as_a_folder_of_them_is(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "walk", [f"{n}.png" for n in range(5)])
    record = {"prompt": "q", "responses": ["a"], "video": {"frames": [f"{n}.png" for n in range(5)]}}
    (listed,) = parse(record, folder=folder).media
    (whole,) = parse({**record, "video": {"frames": "walk"}}, folder=tmp_path).media
    clips = [load(media, MediaOptions(max_frames=3)) for media in (listed, whole)]
    assert all(isinstance(clip, Clip) and places(clip) == [0, 2, 4] for clip in clips)
    assert clips[0].digest == clips[1].digest
    record["video"]["frames"] = ["4.png", Image.new("RGB", (8, 6), (90, 0, 0)), "0.png"]
    (mixed,) = parse(record, folder=folder).media
    clip = load(mixed)
    assert isinstance(clip, Clip)
    assert places(clip) == [4, 9, 0]


def test_no_frame_of_a_list_leaves_the_root(tmp_path: Path) -> None:
    write_frames(tmp_path, ["secret.png"])
    write_frames(tmp_path / "media", ["0.png"])
    record = {"prompt": "q", "responses": ["a"], "video": {"frames": ["0.png", "../secret.png"]}}
    (media,) = parse(record, media_root=tmp_path / "media").media
    with pytest.raises(MediaError, match="outside the media root"):
        load(media)


@pytest.mark.parametrize(
    ("n_items", "n_kept", "expected"),
    [
        (3, 5, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (9, 3, [0, 4, 8]),
        (10, 4, [0, 3, 6, 9]),
        (10, 3, [0, 4, 9]),  # 4.5 goes to the even neighbour, as in the released trainer
        (7, 2, [0, 6]),
        (7, 1, [0]),
    ],
)
def test_even_indices_worked_by_hand(n_items: int, n_kept: int, expected: list[int]) -> None:
    assert even_indices(n_items, n_kept) == expected


def test_even_indices_never_repeat() -> None:
    for n_items in range(1, 80):
        for n_kept in range(1, 40):
            kept = even_indices(n_items, n_kept)
            assert len(set(kept)) == len(kept) == min(n_items, n_kept)


def test_frames_in_natural_order(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", [f"frame{i}.png" for i in range(12)])
    (folder / ".DS_Store").write_text("hidden files are no frames")
    clip = load_clip(folder, kind="frames", spacing=0.25)
    assert places(clip) == list(range(12))
    assert clip.times_s == tuple(i * 0.25 for i in range(12))
    assert clip.duration_s == 3


def test_frames_are_thinned_evenly_and_keep_their_times(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", [f"{i}.png" for i in range(9)])
    clip = load_clip("f", kind="frames", folder=tmp_path, max_frames=3)
    assert (places(clip), clip.times_s, clip.duration_s) == ([0, 4, 8], (0, 16, 32), 36)
    one = load_clip(folder, kind="frames", max_frames=1)
    assert (places(one), one.times_s) == ([0], (0,))


def test_a_folder_given_as_video_is_a_folder_of_frames(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", ["1.png", "2.png"])
    assert load_clip(folder).digest == load_clip(folder, kind="frames").digest


def test_frames_are_four_seconds_apart_where_nothing_else_is_said(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", ["1.png", "2.png", "3.png"])
    assert load_clip(folder).times_s == (0, 4, 8)
    assert load_clip(folder, spacing=0.5).times_s == (0, 0.5, 1)


@pytest.mark.parametrize("spacing", [0, -1, float("nan"), float("inf")])
def test_frames_need_a_positive_spacing_and_clip_files_none(tmp_path: Path, spacing: float) -> None:
    folder = write_frames(tmp_path / "f", ["1.png"])
    with pytest.raises(MediaError, match="not a positive number of seconds") as caught:
        load_clip(folder, spacing=spacing)
    assert (caught.value.where, "sampling_interval" in caught.value.hint) == (str(folder), True)
    path = write_clip(tmp_path / "a.mp4")
    assert load_clip(path, spacing=spacing).digest == load_clip(path).digest


def test_frame_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "f", ["1.png", "2.png", "3.png"])
    assert "no such file" in refusal(tmp_path / "none", "frames").what
    assert "not a folder" in refusal(folder / "1.png", "frames").what
    assert "local folder" in refusal("https://example.com/f", "frames", allow_remote=True).what
    (tmp_path / "g").mkdir()
    assert "no pictures" in refusal(tmp_path / "g", "frames").what
    save(Image.new("RGB", (9, 6)), folder / "3.png")
    error = refusal(folder, "frames")
    assert error.where.endswith("3.png")
    assert "9 x 6" in error.what
    assert "1.png is 8 x 6" in error.what
    (folder / "3.png").unlink()
    (folder / "2b.txt").write_text("notes")
    for max_frames in (2, 16):  # also where it would not be shown
        error = refusal(folder, "frames", max_frames=max_frames)
        assert (Path(error.where).name, error.what[:29]) == ("2b.txt", "not a picture in a format tha")
    (folder / "2b.txt").unlink()
    (folder / "more").mkdir()
    assert refusal(folder, "frames").where.endswith("more")


# Clips through load; what they hold is tested in test_clips.py


def test_a_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    clip = load_clip("a.mp4", folder=tmp_path)
    assert clip.frames.shape == (5, 48, 64, 3)
    assert clip.times_s == (0, 0.5, 1, 1.5, 2)
    assert clip.duration_s == 2
    assert clip.digest == load_clip(path).digest != load_clip(path, max_frames=2).digest


def test_a_clip_as_data_url_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = base64.b64encode(write_clip(tmp_path / "a.mp4").read_bytes()).decode()
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    assert load_clip(f"data:video/mp4;base64,{data}").digest == load_clip(tmp_path / "a.mp4").digest
    assert refusal("data:video/mp4,nonsense", "video").where == "data:video/mp4,nonsense"
    assert list(spool.iterdir()) == []


def test_clip_errors_name_the_path_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no clip")
    error = refusal("bad.mp4", "video", folder=tmp_path)
    assert (error.where, error.what) == ("bad.mp4", "not a clip that FFmpeg can read")
    assert str(error.at("data.jsonl:3")).startswith("data.jsonl:3: bad.mp4: not a clip")
    assert "no such file" in refusal("none.mp4", "video", folder=tmp_path).what


def test_a_picture_in_memory_is_no_clip() -> None:
    with pytest.raises(MediaError, match='cannot be a "video"'):
        load(Media("video", Image.new("RGB", (2, 2))))


def test_max_frames_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_frames"):
        MediaOptions(max_frames=0)
