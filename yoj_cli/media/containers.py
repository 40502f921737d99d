"""A clip's file, before anything is decoded: what it is, how large, and when each of its frames is shown."""

from __future__ import annotations

import os
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING

from yoj_cli.errors import MediaError
from yoj_cli.media.endings import is_cut_short
from yoj_cli.media.hints import HINT_REENCODE, HINT_TOO_LARGE
from yoj_cli.media.sampling import Timeline

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

N_THREADS = min(4, os.cpu_count() or 1)
HINT_AGAIN = "Get the file again: its end is missing."
FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,gif,apng,nut,mxf,gxf,rm,wtv,dv,dhav,nsv,nuv,ivf,swf,flic,"
    "bink,smk,yuv4mpegpipe,mjpeg,mpjpeg,h261,h263,h264,hevc,vvc,m4v,av1,obu,vc1,cavsvideo,avs2,avs3,dirac,dnxhd,evc,"
    # Sounds and pictures, so that they are called so.
    "wav,w64,mp3,aac,ac3,eac3,ac4,flac,aiff,au,caf,amr,ape,wv,tta,tak,dts,dtshd,truehd,mlp,voc,mpc,mpc8,loas,"
    "ico,jpeg_pipe,png_pipe,bmp_pipe,gif_pipe,webp_pipe,tiff_pipe,ppm_pipe,pgm_pipe,pbm_pipe,pam_pipe,psd_pipe,"
    "j2k_pipe,jpegls_pipe,jpegxl_pipe,jpegxl_anim,qoi_pipe,dds_pipe,dpx_pipe,exr_pipe,hdr_pipe,pcx_pipe,sgi_pipe,"
    "sunrast_pipe,xbm_pipe,xpm_pipe,xwd_pipe"
)
"""What FFmpeg may take a file for, by its content and by FFmpeg's names: formats that hold all there is of a clip. None
is a playlist, a device or a description that makes it open something else."""
PLAYLIST_SIGNS = (b"#EXTM3U", b"ffconcat version", b"<MPD", b"v=0\n", b"v=0\r\n")
XML_PLAYLISTS = (b"<MPD", b"<AssetMap", b"<CompositionPlaylist")
STILL_NAMES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".jp2",
    ".ppm",
    ".pgm",
    ".pbm",
    ".tga",
)
STILL_BRANDS = {"avif", "heic", "heix", "heim", "heis", "mif1"}
"""Pictures that are kept in the container of a clip; a tile of one could pass for a clip."""


def open_clip(path: str, name: str = "") -> InputContainer:
    """Open a clip for FFmpeg.

    Args:
        name: what the file is called, where its path does not say.
    Raises:
        MediaError: it is none.
    """
    import av

    try:
        # Only the file itself: nothing in it can make FFmpeg open addresses or other files.
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        container = av.open(path, options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _no_clip(path, name or path) from error
    try:
        _check_format(container, path)
    except MediaError:
        container.close()
        raise
    return container


def _no_clip(path: str, name: str) -> MediaError:
    with open(path, "rb") as file:
        head = file.read(1024).lstrip()
    if head.startswith(PLAYLIST_SIGNS) or (
        head.startswith(b"<?xml") and any(each in head for each in XML_PLAYLISTS)
    ):
        hint = "Give the clip that the playlist points to."
        return MediaError("a playlist, not a clip", where=path, hint=hint)
    if name.lower().endswith(STILL_NAMES):
        return _still_picture(path)
    return MediaError(
        "not a clip that FFmpeg can read",
        where=path,
        hint="Get the file again if it is cut short, else convert it to MP4; a picture is given as an image.",
    )


def _still_picture(path: str) -> MediaError:
    return MediaError(
        "a still picture by its content or its name, not a clip",
        where=path,
        hint="Give it as an image, not as a video.",
    )


def _check_format(container: InputContainer, path: str) -> None:
    formats = set(container.format.name.split(","))
    is_picture = "ico" in formats or any(name.endswith("_pipe") for name in formats)
    if is_picture and _is_animated_webp(path):
        raise MediaError(
            "an animated WebP, which FFmpeg cannot decode",
            where=path,
            hint="Convert it to GIF or MP4, or save its frames as pictures in a folder.",
        )
    if is_picture or container.metadata.get("major_brand") in STILL_BRANDS:
        raise _still_picture(path)
    with open(path, "rb") as file:
        if formats & {"gif", "apng", "matroska", "avi"} and is_cut_short(file):
            raise MediaError("the clip is cut short", where=path, hint=HINT_AGAIN)


def _is_animated_webp(path: str) -> bool:
    """By the flag in its header; source: WebP container specification, extended file format."""
    with open(path, "rb") as file:
        head = file.read(21)
    return head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


def find_stream(container: InputContainer, path: str) -> av.VideoStream:
    import av
    from av.stream import Disposition

    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or stream.disposition & Disposition.attached_pic:
        raise MediaError("no video stream in this file", where=path, hint="Give a file with moving pictures.")
    if stream.codec_context is None:
        raise MediaError("FFmpeg has no decoder for this clip", where=path, hint=HINT_REENCODE)
    stream.codec_context.thread_count = N_THREADS
    return stream


def check_size(stream: av.VideoStream, path: str, max_pixels: int) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > max_pixels:
        raise MediaError(
            f"the clip is too large: {width} x {height} pixels a frame, and the limit is {max_pixels:,} "
            "(--max-picture-mp)",
            where=path,
            hint=HINT_TOO_LARGE,
        )


def check_shown(stream: av.VideoStream, n_frames: int, path: str, max_clip_pixels: int) -> None:
    """Refuse a clip that would have too many pixels in all frames that are shown of it."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if n_frames * width * height > max_clip_pixels:
        raise too_many_pixels(n_frames, width, height, where=path, max_clip_pixels=max_clip_pixels)


def too_many_pixels(
    n_frames: int, width: int, height: int, *, where: str, max_clip_pixels: int
) -> MediaError:
    return MediaError(
        f"the clip is too large: {n_frames} frames of {width} x {height}, and the limit is {max_clip_pixels:,} pixels "
        "(--max-clip-mp)",
        where=where,
        hint="Scale it down, read fewer frames (--max-frames), or raise --max-clip-mp.",
    )


def has_alpha(pixel_format: av.VideoFormat) -> bool:
    return any(component.is_alpha for component in pixel_format.components) or pixel_format.name == "pal8"


def read_timeline(container: InputContainer, stream: av.VideoStream, path: str) -> Timeline | None:
    """List the packets; None where the container does not say when each is shown."""
    import av

    # FFmpeg takes memory for a packet before it reads it; the largest of its 30-bit sizes are negative.
    if not all(0 <= entry.size <= container.size for entry in stream.index_entries):
        what = "one of its frames claims more bytes than the whole file has"
        raise MediaError(f"the clip is damaged: {what}", where=path, hint=HINT_AGAIN)
    packets: list[tuple[int, int, int, bool, int]] = []
    n_packets = 0
    try:
        for packet in container.demux(stream):
            n_packets += packet.size > 0
            if packet.size == 0 or packet.is_discard:  # the flush at the end; frames an edit list cuts away
                continue
            if packet.pts is None:
                return None
            aim = packet.pts if packet.dts is None else packet.dts
            packets.append((packet.pts, len(packets), aim, packet.is_keyframe, packet.duration or 0))
    except av.FFmpegError as error:
        raise _damaged(error, path) from error
    if not packets:
        raise MediaError("there is no frame in this clip", where=path, hint=HINT_REENCODE)
    if "mp4" in container.format.name and n_packets < stream.frames:
        raise MediaError(
            f"the clip is cut short: {n_packets} of its {stream.frames} frames are there",
            where=path,
            hint=HINT_AGAIN,
        )
    packets.sort()
    pts, order, dts, is_key, durations = zip(*packets, strict=True)
    unit_s = stream.time_base or Fraction(1, 1000)
    last_duration = durations[-1]
    if last_duration <= 0 and stream.average_rate:
        last_duration = round(1 / (stream.average_rate * unit_s))
    return Timeline(pts, order, dts, is_key, pts[-1] + last_duration, unit_s)


def count_frames(path: str) -> Timeline:
    """For containers without times (raw streams, some AVI): decode once to count, at the nominal rate."""
    import av

    with closing(open_clip(path)) as container:
        stream = find_stream(container, path)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        try:
            count = sum(1 for _ in container.decode(stream))
        except av.FFmpegError as error:
            raise _damaged(error, path) from error
    if not count:
        raise MediaError("there is no frame in this clip", where=path, hint=HINT_REENCODE)
    every = tuple(range(count))
    return Timeline(
        every, every, every, (True, *[False] * (count - 1)), count, 1 / Fraction(rate), is_counted=True
    )


def reason_of(error: Exception) -> str:
    """Its first line; FFmpeg's without their number and the decoding process's own path."""
    reason = getattr(error, "strerror", None)
    if reason:
        return str(reason).rstrip(".")
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _damaged(error: Exception, path: str) -> MediaError:
    return MediaError(f"the clip is damaged: {reason_of(error)}", where=path, hint=HINT_REENCODE)
