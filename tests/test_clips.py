"""Real clips, made here: every frame shows its own number as eight black and white bars."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from yoj_cli.errors import MediaError
from yoj_cli.media.clips import Decoded, decode_clip

BAR_PX, HEIGHT_PX = 16, 64
GENEROUS = {"max_pixels": 10**8, "max_frames": 16}


def draw(number: int) -> np.ndarray:
    """(64, 128, 3) uint8: bar k is white where bit k of the number is set."""
    bars = [255 * (number >> bit & 1) for bit in range(8)]
    row = np.repeat(np.array(bars, np.uint8), BAR_PX)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (HEIGHT_PX, 8 * BAR_PX, 3)))


def read(frame: np.ndarray) -> int:
    """The number that `draw` drew."""
    centres = frame[HEIGHT_PX // 2, BAR_PX // 2 :: BAR_PX].mean(axis=-1)
    assert np.all((centres < 40) | (centres > 215)), "not a clean frame"
    return sum(1 << bit for bit, value in enumerate(centres) if value > 128)


def numbers(decoded: Decoded) -> list[int]:
    return [read(frame) for frame in decoded.frames]


def write_clip(
    path: Path,
    n_frames: int = 0,
    *,
    fps: int = 10,
    codec: str = "libx264",
    pts_ms: Sequence[int] | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Frames 0, 1, 2 … at a constant rate, or at the given times."""
    unit_s = Fraction(1, fps) if pts_ms is None else Fraction(1, 1000)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 8 * BAR_PX, HEIGHT_PX, pix_fmt
        stream.codec_context.time_base = unit_s
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV writes no rotation tags")
            stream.set_display_rotation(rotation)
        for number, at in enumerate(range(n_frames) if pts_ms is None else pts_ms):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts, frame.time_base = at, unit_s
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def overwrite_frame(path: Path, at_s: float) -> Path:
    """A copy whose packet for that instant is all zero bytes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = ((p, p.pts * stream.time_base) for p in container.demux(stream) if p.pts is not None)
        packet = next(packet for packet, time_s in times if abs(time_s - at_s) < 1e-6)
        place, size = packet.pos, packet.size
        data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    copy = path.with_name("damaged_" + path.name)
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("use_decord", [True, False])
def test_the_frame_on_screen_at_each_instant(tmp_path: Path, use_decord: bool) -> None:
    clip = write_clip(tmp_path / "a.mp4", 25, fps=10)  # 2.5 s
    decoded = decode_clip(str(clip), **GENEROUS, use_decord=use_decord)
    assert decoded.duration_s == 2.5
    assert decoded.times_s == (0, 0.5, 1, 1.5, 2, 2.5)
    assert numbers(decoded) == [0, 5, 10, 15, 20, 24]


@pytest.mark.parametrize("use_decord", [True, False])
def test_long_clips_are_spread_evenly(tmp_path: Path, use_decord: bool) -> None:
    clip = write_clip(tmp_path / "a.mp4", 200, fps=10, options={"g": "30", "bf": "2"})  # 20 s
    decoded = decode_clip(str(clip), max_frames=6, max_pixels=10**8, use_decord=use_decord)
    assert decoded.times_s == (0, 4, 8, 12, 16, 20)
    assert numbers(decoded) == [0, 40, 80, 120, 160, 199]


def test_one_instant_is_the_start(tmp_path: Path) -> None:
    decoded = decode_clip(str(write_clip(tmp_path / "a.mp4", 9)), max_frames=1, max_pixels=10**8)
    assert (decoded.times_s, numbers(decoded)) == ((0,), [0])


@pytest.mark.parametrize("use_decord", [True, False])
def test_a_single_frame_is_shown_at_its_start_and_at_its_end(tmp_path: Path, use_decord: bool) -> None:
    clip = write_clip(tmp_path / "a.mp4", 1, fps=4)
    decoded = decode_clip(str(clip), **GENEROUS, use_decord=use_decord)
    assert (decoded.times_s, numbers(decoded)) == ((0, 0.25), [0, 0])


@pytest.mark.parametrize("use_decord", [True, False])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_frame_rate(tmp_path: Path, name: str, use_decord: bool) -> None:
    clip = write_clip(tmp_path / name, pts_ms=[0, 100, 900, 1000, 2600], fps=10)
    decoded = decode_clip(str(clip), **GENEROUS, use_decord=use_decord)
    assert decoded.duration_s == pytest.approx(2.7)
    assert decoded.times_s == pytest.approx((0, 0.5, 1, 1.5, 2, 2.5, 2.7))
    assert numbers(decoded) == [0, 1, 3, 3, 3, 3, 4]


@pytest.mark.parametrize("use_decord", [True, False])
@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_a_clip_that_starts_late_counts_from_its_first_frame(
    tmp_path: Path, name: str, use_decord: bool
) -> None:
    clip = write_clip(tmp_path / name, pts_ms=[5000 + 100 * i for i in range(12)])
    decoded = decode_clip(str(clip), **GENEROUS, use_decord=use_decord)
    assert decoded.times_s == pytest.approx((0, 0.5, 1, 1.2))
    assert numbers(decoded) == [0, 5, 10, 11]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_tags_turn_the_picture_alike_in_both_decoders(tmp_path: Path, rotation: int) -> None:
    clip = write_clip(tmp_path / "a.mp4", 12, rotation=rotation)
    with_pyav = decode_clip(str(clip), **GENEROUS, use_decord=False)
    with_decord = decode_clip(str(clip), **GENEROUS, use_decord=True)
    size = (HEIGHT_PX, 8 * BAR_PX) if rotation == 180 else (8 * BAR_PX, HEIGHT_PX)
    assert with_pyav.frames.shape[1:3] == size
    assert np.array_equal(with_pyav.frames, with_decord.frames)
    upright = np.rot90(with_pyav.frames, -rotation // 90, axes=(1, 2))
    assert [read(frame) for frame in upright] == [0, 5, 10, 11]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.mp4", "libx264", {"g": "12", "bf": "3"}),
        ("open.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
        ("h265.mp4", "libx265", {"x265-params": "keyint=12:bframes=3:open-gop=1:log-level=none"}),
        ("vp8.webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10"}),
        ("vp9.webm", "libvpx-vp9", {"g": "12"}),
        ("av1.mkv", "libsvtav1", {"svtav1-params": "keyint=12"}),
        ("old.avi", "mpeg4", {"g": "12", "b": "2M"}),
        ("ts.ts", "libx264", {"g": "12", "bf": "2"}),
    ],
)
@pytest.mark.parametrize("use_decord", [True, False])
def test_every_codec_gives_the_right_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], use_decord: bool
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    clip = write_clip(tmp_path / name, 47, codec=codec, options=options)
    for n in (2, 5, 16):
        decoded = decode_clip(str(clip), max_frames=n, max_pixels=10**8, use_decord=use_decord)
        assert decoded.duration_s == pytest.approx(4.7, abs=0.002)
        assert numbers(decoded) == [min(int(t * 10 + 0.05), 46) for t in decoded.times_s]


def test_decord_is_used_where_it_can_be_trusted(tmp_path: Path) -> None:
    pytest.importorskip("decord")
    plain = write_clip(tmp_path / "a.mp4", 24)
    assert decode_clip(str(plain), **GENEROUS).decoder == "decord"
    gif = write_clip(tmp_path / "a.gif", 24, codec="gif", pix_fmt="rgb8")
    assert decode_clip(str(gif), **GENEROUS).decoder == "pyav"


def test_both_decoders_give_the_same_pixels(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "a.mp4", 90, options={"g": "20"}))
    a, b = (decode_clip(clip, **GENEROUS, use_decord=choice) for choice in (True, False))
    assert np.array_equal(a.frames, b.frames)
    assert a.times_s == b.times_s


def test_gif(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.gif", 24, codec="gif", pix_fmt="rgb8")
    decoded = decode_clip(str(clip), **GENEROUS)
    assert numbers(decoded) == [0, 5, 10, 15, 20, 23]


def test_a_raw_stream_without_times_is_counted(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.h264", 30, fps=25)
    decoded = decode_clip(str(clip), **GENEROUS)
    assert decoded.duration_s == pytest.approx(30 / 25)
    assert numbers(decoded) == [0, 12, 25, 29]


@pytest.mark.parametrize("use_decord", [True, False])
def test_a_damaged_frame_is_an_error_exactly_where_something_needed_depends_on_it(
    tmp_path: Path, use_decord: bool
) -> None:
    whole = write_clip(tmp_path / "a.mp4", 40, options={"g": "10", "bf": "0"})
    clip = str(overwrite_frame(whole, 1.2))  # frames 12..19 are lost
    with pytest.raises(MediaError, match=r"the frame needed at 1\.50 s cannot be decoded") as caught:
        decode_clip(clip, max_frames=9, max_pixels=10**8, use_decord=use_decord)
    assert caught.value.where == clip
    fine = decode_clip(clip, max_frames=5, max_pixels=10**8, use_decord=use_decord)  # 0, 1, 2, 3, 4 s
    assert numbers(fine) == [0, 10, 20, 30, 39]


def test_a_clip_whose_end_is_missing_is_an_error(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mp4", 60, container_options={"movflags": "faststart"})
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    with pytest.raises(MediaError, match=r"cut short|cannot be decoded"):
        decode_clip(str(half), **GENEROUS)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("a.apng", "apng", "rgb24"),
    ],
)
def test_a_clip_cut_anywhere_is_an_error(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = write_clip(tmp_path / name, 60, codec=codec, pix_fmt=pix_fmt)
    data = path.read_bytes()
    decode_clip(str(path), **GENEROUS)
    for share in range(1, 20):
        path.write_bytes(data[: len(data) * share // 20])
        with pytest.raises(MediaError, match=r"cut short|not a clip|cannot be decoded") as caught:
            decode_clip(str(path), **GENEROUS)
        assert caught.value.hint


def test_a_live_recording_whose_length_is_unknown_is_whole(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 12, container_options={"live": "1"})
    assert len(decode_clip(str(path), **GENEROUS).frames) > 1


def test_reading_that_stops_is_an_error_that_names_no_path_of_ours(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.apng", 20, codec="apng", pix_fmt="rgb24")
    before, chunk, after = path.read_bytes().rpartition(b"fdAT")
    path.write_bytes(before + b"ABCD" + after)  # a chunk of a kind that FFmpeg does not know
    with pytest.raises(MediaError, match="the clip is damaged") as caught:
        decode_clip(str(path), **GENEROUS)
    assert chunk
    assert "Errno" not in caught.value.what
    assert str(path) not in caught.value.what


def test_sound_alone_is_not_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video stream"):
        decode_clip(str(path), **GENEROUS)


def test_what_is_no_clip_says_so(tmp_path: Path) -> None:
    from PIL import Image

    text = tmp_path / "a.mp4"
    text.write_text("this is not a clip")
    with pytest.raises(MediaError, match="not a clip"):
        decode_clip(str(text), **GENEROUS)
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    for name in ("a.png", "a.avif", "a.ico", "a.webp"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
        with pytest.raises(MediaError, match="still picture"):
            decode_clip(str(tmp_path / name), **GENEROUS)


def test_an_animated_webp_is_not_called_a_still_picture(tmp_path: Path) -> None:
    from PIL import Image

    frames = [Image.new("RGB", (64, 48), (60 * i, 0, 0)) for i in range(4)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=250)
    with pytest.raises(MediaError, match="an animated WebP, which FFmpeg cannot decode") as caught:
        decode_clip(str(tmp_path / "a.webp"), **GENEROUS)
    assert "GIF or MP4" in caught.value.hint


def test_playlists_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.ts", 12)
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError, match="playlist"):
        decode_clip(str(playlist), **GENEROUS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["a.m3u8", "a.mp4", "a.ffconcat", "a.mpd"])
def test_a_playlist_by_any_name_opens_nothing_that_it_names(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.ts")  # opening it would wait for ever
    texts = {
        "a.ffconcat": "ffconcat version 1.0\nfile pipe.ts\n",
        "a.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>pipe.ts</BaseURL></MPD>',
    }
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{tmp_path}/pipe.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(texts.get(name, hls))
    with pytest.raises(MediaError, match="a playlist, not a clip"):
        decode_clip(str(tmp_path / name), **GENEROUS)


def test_frames_that_are_hours_apart_are_shown_all_the_same(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", pts_ms=[0, 36_000_000, 72_000_000])  # decord counts them as damaged
    decoded = decode_clip(str(clip), max_frames=3, max_pixels=10**8)
    assert (numbers(decoded), decoded.decoder) == ([0, 1, 2], "pyav")


def test_large_frames_are_refused_before_decoding(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3)
    with pytest.raises(MediaError, match=r"128 x 64 pixels a frame, and the limit is 8,000"):
        decode_clip(str(clip), max_frames=16, max_pixels=8000)
