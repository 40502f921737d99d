"""Small good pictures and clips with some bytes changed: they are decoded or refused; no decoder crashes or hangs."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.conftest import DATA
from tests.fuzz.target import Target
from yoj_cli.errors import MediaError
from yoj_cli.groups import Media

CORPUS = DATA / "broken_media"
"""Files made to break decoders, and those that did: fuzzing adds what crashes one. The tests load each of them."""
TIMEOUT_S = 20.0
PICTURES = {
    "png": {},
    "jpg": {},
    "progressive.jpg": {"progressive": True},
    "webp": {},
    "gif": {},
    "bmp": {},
    "tiff": {},
    "lzw.tiff": {"compression": "tiff_lzw"},
    "jp2": {},
    "ppm": {},
    "ico": {},
    "avif": {},
}
FORMATS = {"jpg": "JPEG", "jp2": "JPEG2000"}
CLIPS = {"mp4": "mpeg4", "mkv": "mpeg4", "avi": "mjpeg", "webm": "libvpx", "h264.mp4": "libx264"}
CRASHED = ("crashed", "did not finish", "processor's time")
NO_MEMORY = "memory"
"""A failure of pictures alone: FFmpeg takes what the counts in a header ask for, and the limit is there for it."""


@lru_cache
def good_files() -> dict[str, bytes]:
    """By ending: a picture of 24 x 16 in each format, and a clip of 6 frames in each container."""
    from PIL import Image

    found: dict[str, bytes] = {}
    pixels = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    for ending, how in PICTURES.items():
        file = BytesIO()
        last = ending.rpartition(".")[2]
        Image.fromarray(pixels).save(file, FORMATS.get(last, last.upper()), **how)
        found[ending] = file.getvalue()
    for ending, codec in CLIPS.items():
        found[ending] = _make_clip(ending.rpartition(".")[2], codec)
    return found


def _make_clip(container: str, codec: str) -> bytes:
    import av

    file = BytesIO()
    formats = {"mkv": "matroska"}
    with av.open(file, "w", format=formats.get(container, container)) as output:
        stream: Any = output.add_stream(codec, rate=4)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(6):
            picture = np.full((32, 48, 3), number * 40, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


NUMBERS = [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", b"\xff" * 8]
"""Sizes and counts at the ends of their range."""
EDITS = st.one_of(
    st.tuples(st.just("set"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(
        st.just("set"),
        st.floats(0, 1),
        st.sampled_from(NUMBERS),
    ),
    st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("repeat"), st.floats(0, 1), st.binary(min_size=1, max_size=1)),
)


@dataclass(frozen=True)
class BrokenFile:
    """Its bytes are no part of what a failure prints: the file is kept."""

    ending: str
    content: bytes = field(repr=False)


@st.composite
def broken_files(draw: st.DrawFn) -> BrokenFile:
    """An ending, and a good file of it with up to six edits; edits near the start, where headers are, are as likely."""
    ending = draw(st.sampled_from([*PICTURES, *CLIPS]))
    content = bytearray(good_files()[ending])
    for kind, place, piece in draw(st.lists(EDITS, min_size=1, max_size=6)):
        at = int(place * len(content)) if draw(st.booleans()) else int(place * min(len(content), 64))
        if kind == "set":
            content[at : at + len(piece)] = piece
        elif kind == "insert":
            content[at:at] = piece
        elif kind == "cut":
            del content[max(at, 1) :]
        else:
            content[at:at] = content[at : at + 100] * piece[0]
    return BrokenFile(ending, bytes(content))


def load_broken(ending: str, content: bytes) -> str:
    """What a loader says of a file: "" where it is decoded."""
    from yoj_cli.media.budget import load_group
    from yoj_cli.media.options import MediaOptions

    kind: Any = "video" if _is_clip(ending) else "image"
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"file.{ending}"
        path.write_bytes(content)
        try:
            load_group([Media(kind, str(path))], MediaOptions(timeout_s=TIMEOUT_S))
        except MediaError as error:
            return error.what
    return ""


def _is_clip(ending: str) -> bool:
    return ending.rpartition(".")[2] in CLIPS


def check_media(file: BrokenFile) -> None:
    said = load_broken(file.ending, file.content)
    failures = CRASHED if _is_clip(file.ending) else (*CRASHED, NO_MEMORY)
    if any(word in said for word in failures):
        CORPUS.mkdir(exist_ok=True)
        name = hashlib.blake2b(file.content, digest_size=6).hexdigest()
        (CORPUS / f"{name}.{file.ending}").write_bytes(file.content)
        raise AssertionError(f"{CORPUS.name}/{name}.{file.ending}: {said}")


MEDIA = Target("media", broken_files(), check_media, share=2.0, shrinks=False)
