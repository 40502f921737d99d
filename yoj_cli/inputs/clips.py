"""Which frames of a clip are shown, and decoding exactly those, in a process of its own.

A clip's packets are listed first (PyAV, no decoding), which gives every frame's exact time. The
instants are chosen from the duration alone, as the Molmo2 weights were trained, and the frame shown at
an instant is the one on screen then. decord decodes those frames where it can, PyAV otherwise; both go
by the same list, so they agree.

A frame that depends on damaged data is an error, never a repaired or neighbouring frame.

This file is also the program of the worker process (`serve`), which clip_pool starts and, when a decoder
hangs or crashes, replaces.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Any

from yoj_cli.errors import MediaError

if TYPE_CHECKING:
    import av
    import numpy as np
    from av.container import InputContainer
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

MAX_FRAMES_PER_SECOND = 2
N_THREADS = min(4, os.cpu_count() or 1)
HINT_REENCODE = "Encode it again, for example: ffmpeg -i clip.mp4 -c:v libx264 -pix_fmt yuv420p again.mp4"
PLAYLISTS = {"hls", "concat", "dash", "sdp", "rtsp", "rtp", "imf", "webm_dash_manifest"}


def sample_times(duration_s: Fraction, max_frames: int) -> list[Fraction]:
    """The instants at which a clip is looked at, in seconds from its first frame.

    At most 2 a second with the last instant always the end; a clip longer than (max_frames - 1) / 2
    seconds is spread evenly, both ends included. A single instant is the start.

    Source: sample_times in molmo-utils 0.0.1, "uniform_last_frame" with max_fps 2, in exact arithmetic.
    """
    step = Fraction(1, MAX_FRAMES_PER_SECOND)
    if duration_s > (max_frames - 1) * step:
        gaps = max(max_frames - 1, 1)
        return [duration_s * i / gaps for i in range(max_frames)]
    times = [i * step for i in range(-int(-duration_s // step))]
    return [*times, duration_s]


@dataclass(frozen=True)
class Timeline:
    """When each frame of a clip comes on screen, in display order.

    Attributes:
        pts: (F,) int, in units of `unit_s`.
        order: (F,) place in decoding order: a frame can only depend on frames of a smaller one.
        dts: (F,) int, where a seek to this frame has to aim.
        is_key: (F,) decoding can start here.
        end: int, when the last frame goes off screen, in units of `unit_s`.
        is_counted: the container gives no times, so `pts` counts decoded frames at the nominal rate.
    """

    pts: tuple[int, ...]
    order: tuple[int, ...]
    dts: tuple[int, ...]
    is_key: tuple[bool, ...]
    end: int
    unit_s: Fraction
    is_counted: bool = False

    @property
    def duration_s(self) -> Fraction:
        return (self.end - self.pts[0]) * self.unit_s

    def start_s(self, index: int) -> Fraction:
        return (self.pts[index] - self.pts[0]) * self.unit_s

    def shown_at(self, time_s: Fraction) -> int:
        """Index of the frame on screen `time_s` after the first one came up."""
        return max(bisect_right(self.pts, self.pts[0] + time_s / self.unit_s) - 1, 0)

    @property
    def is_closed(self) -> bool:
        """No frame shown before a key frame is decoded after it."""
        highest = accumulate(self.order, max)
        return all(self.order[i] == top for i, top in enumerate(highest) if self.is_key[i])

    def key_before(self, index: int) -> int:
        """Index of the frame from which decoding has to start to reach `index`."""
        return next((k for k in range(index, 0, -1) if self.is_key[k]), 0)


@dataclass(frozen=True)
class Decoded:
    """What the worker sends back: frames (F, H, W, 3) uint8 RGB at `times_s` (F,)."""

    frames: Frame
    times_s: tuple[float, ...]
    duration_s: float
    decoder: str


def decode_clip(path: str, *, max_frames: int, max_pixels: int, use_decord: bool = True) -> Decoded:
    """Sample and decode one clip in this process.

    Raises:
        MediaError: not a clip, too large, or a frame that is needed cannot be decoded.
    """
    import numpy as np

    with closing(_open(path)) as container:
        stream = _find_stream(container, path)
        _check_size(stream, path, max_pixels)
        plain = not stream.codec_context.format or not _has_alpha(stream.codec_context.format)
        timeline = _read_timeline(container, stream, path)
    if timeline is None:
        timeline = _count_frames(path)
    times = sample_times(timeline.duration_s, max_frames)
    shown = [timeline.shown_at(time) for time in times]
    wanted = sorted(set(shown))
    frames = None
    if use_decord and plain and timeline.is_closed and not timeline.is_counted:
        frames = _decode_with_decord(path, timeline, wanted)
    decoder = "pyav" if frames is None else "decord"
    if frames is None:
        frames = _decode_with_pyav(path, timeline, wanted)
    if len({frame.shape for frame in frames.values()}) > 1:
        raise MediaError("the picture size changes within the clip", where=path, hint=HINT_REENCODE)
    return Decoded(
        frames=np.stack([frames[index] for index in shown]),
        times_s=tuple(float(time) for time in times),
        duration_s=float(timeline.duration_s),
        decoder=decoder,
    )


def _open(path: str) -> InputContainer:
    import av

    try:
        # Only the file itself: a playlist must not make FFmpeg open addresses or other protocols.
        container = av.open(path, options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            "not a clip that FFmpeg can read",
            where=path,
            hint='Convert it to MP4; a picture belongs in "image".',
        ) from error
    formats = set(container.format.name.split(","))
    if formats & PLAYLISTS:
        container.close()
        raise MediaError(
            "a playlist, not a clip", where=path, hint="Give the clip that the playlist points to."
        )
    if "image2" in formats or any(name.endswith("_pipe") for name in formats):
        container.close()
        raise MediaError(
            "a still picture, not a clip", where=path, hint='Put it in "image" instead of "video".'
        )
    return container


def _find_stream(container: InputContainer, path: str) -> av.VideoStream:
    import av
    from av.stream import Disposition

    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream) or stream.disposition & Disposition.attached_pic:
        raise MediaError("no video stream in this file", where=path, hint="Give a file with moving pictures.")
    if stream.codec_context is None:
        raise MediaError("FFmpeg has no decoder for this clip", where=path, hint=HINT_REENCODE)
    stream.codec_context.thread_count = N_THREADS
    return stream


def _check_size(stream: av.VideoStream, path: str, max_pixels: int) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > max_pixels:
        raise MediaError(
            f"the clip is too large: {width} x {height} pixels a frame, and the limit is {max_pixels:,}",
            where=path,
            hint="Scale it down; the judge looks at far fewer pixels than this.",
        )


def _has_alpha(pixel_format: av.VideoFormat) -> bool:
    return any(component.is_alpha for component in pixel_format.components) or pixel_format.name == "pal8"


def _read_timeline(container: InputContainer, stream: av.VideoStream, path: str) -> Timeline | None:
    """List the packets; None where the container does not say when each is shown."""
    import av

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
        raise MediaError(f"the clip is damaged: {_reason(error)}", where=path, hint=HINT_REENCODE) from error
    if not packets:
        raise MediaError("there is no frame in this clip", where=path, hint=HINT_REENCODE)
    if "mp4" in container.format.name and n_packets < stream.frames:
        raise MediaError(
            f"the clip is cut short: {n_packets} of its {stream.frames} frames are there",
            where=path,
            hint="Get the file again; its end is missing.",
        )
    packets.sort()
    pts, order, dts, is_key, durations = zip(*packets, strict=True)
    unit_s = stream.time_base or Fraction(1, 1000)
    last_duration = durations[-1]
    if last_duration <= 0 and stream.average_rate:
        last_duration = round(1 / (stream.average_rate * unit_s))
    return Timeline(pts, order, dts, is_key, pts[-1] + last_duration, unit_s)


def _count_frames(path: str) -> Timeline:
    """For containers without times (raw streams, some AVI): decode once to count, at the nominal rate."""
    import av

    with closing(_open(path)) as container:
        stream = _find_stream(container, path)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        try:
            count = sum(1 for _ in container.decode(stream))
        except av.FFmpegError as error:
            raise MediaError(
                f"the clip is damaged: {_reason(error)}", where=path, hint=HINT_REENCODE
            ) from error
    if not count:
        raise MediaError("there is no frame in this clip", where=path, hint=HINT_REENCODE)
    every = tuple(range(count))
    return Timeline(
        every, every, every, (True, *[False] * (count - 1)), count, 1 / Fraction(rate), is_counted=True
    )


def _decode_with_decord(path: str, timeline: Timeline, wanted: Sequence[int]) -> dict[int, Frame] | None:
    """None whenever decord is absent, fails, complains, or sees other frames than the timeline has.

    decord repairs damaged frames in silence; its decoder's complaints on standard error are the only
    sign. Where a frame is shown before a key frame but decoded after it (open groups, usual in H.265), its
    seek counts wrong and gives a neighbour: such clips must not come here.
    """
    try:
        import decord
    except ImportError:
        return None
    complaints = _stderr_size()
    try:
        reader = decord.VideoReader(path, num_threads=N_THREADS, fault_tol=1e-9)
        starts = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        if len(starts) != len(timeline.pts) or any(
            abs(float(start - starts[0]) - float(timeline.start_s(i))) > 0.002
            for i, start in enumerate(starts)
        ):
            return None
        batch: Frame = reader.get_batch(list(wanted)).asnumpy()
    except (decord.DECORDError, RuntimeError, AssertionError):
        return None
    if _stderr_size() != complaints:
        return None
    return dict(zip(wanted, batch, strict=True))


def _decode_with_pyav(path: str, timeline: Timeline, wanted: Sequence[int]) -> dict[int, Frame]:
    runs: dict[int, list[int]] = {}
    for index in wanted:
        runs.setdefault(timeline.key_before(index), []).append(index)
    frames: dict[int, Frame] = {}
    with closing(_open(path)) as container:
        stream = _find_stream(container, path)
        stream.thread_type = "AUTO"
        for key, run in runs.items():
            got, harm = _decode_run(container, stream, timeline, key, run)
            if harm is not None or len(got) < len(run):
                got = _decode_run_again(path, timeline, key, run)
            frames |= got
    return frames


def _decode_run_again(path: str, timeline: Timeline, key: int, run: Sequence[int]) -> dict[int, Frame]:
    """After trouble: without threads, so that an error names its packet, and from one key frame earlier,
    which some streams need to settle.

    Raises:
        MediaError: a wanted frame is missing, or something decoded before it was damaged.
    """
    with closing(_open(path)) as container:
        stream = _find_stream(container, path)
        stream.thread_type = "NONE"
        start = timeline.key_before(max(key - 1, 0))
        frames, harm = _decode_run(container, stream, timeline, start, run, skip_to=key, exact=False)
    for index in run:
        if index not in frames or (harm is not None and harm <= timeline.order[index]):
            time_s = float(timeline.start_s(index))
            raise MediaError(
                f"the clip is damaged: the frame needed at {time_s:.2f} s cannot be decoded",
                where=path,
                hint="Get the clip again, or cut the damaged part away.",
            )
    return frames


def _decode_run(
    container: InputContainer,
    stream: av.VideoStream,
    timeline: Timeline,
    key: int,
    wanted: Sequence[int],
    *,
    skip_to: int | None = None,
    exact: bool = True,
) -> tuple[dict[int, Frame], int | None]:
    """Decode from a key frame on until the wanted frames, and all that they may depend on, have come out.

    Args:
        key: index of the key frame to start at.
        wanted: ascending indices that decoding from `key` reaches.
        skip_to: index of a later key frame; damage before it does no harm. None is `key`.
        exact: leave a frame out when the decoder did not show it, instead of what stayed on screen.
    Returns:
        The frames by index, and the smallest decoding order at which something was damaged (None: nothing).
    """
    import av

    pts, order = timeline.pts, timeline.order
    order_of = dict(zip(pts, order, strict=True))
    first = order[key if skip_to is None else skip_to]
    last = max(order[index] for index in wanted)
    end = max(pts[i] for i in range(len(pts)) if first <= order[i] <= last)
    frames: dict[int, Frame] = {}
    pending = list(wanted)
    on_screen: av.VideoFrame | None = None
    on_screen_pts = 0
    damaged: list[int] = []
    n_shown = 0

    def settle(before: int | None) -> None:
        """Take the frames whose successor is now on screen; before=None: the clip is over."""
        while pending and (before is None or pts[pending[0]] < before):
            index = pending.pop(0)
            if on_screen is not None and (on_screen_pts == pts[index] or not exact):
                frames[index] = _to_rgb(on_screen)

    if key > 0 and not timeline.is_counted:
        container.seek(min(timeline.dts[key], pts[key]), stream=stream, backward=True)
    for packet in container.demux(stream):
        here = n_shown if timeline.is_counted else order_of.get(packet.pts or 0, first)
        if packet.is_corrupt:
            damaged.append(here)
        try:
            shown = packet.decode()
        except av.FFmpegError:
            damaged.append(here)
            continue
        for frame in shown:
            frame_pts = n_shown if timeline.is_counted else frame.pts
            n_shown += 1
            if frame_pts is None:
                continue
            if frame.is_corrupt:
                damaged.append(order_of.get(frame_pts, first))
            settle(frame_pts)
            on_screen, on_screen_pts = frame, frame_pts
        if on_screen is not None and on_screen_pts >= end:
            break
    settle(None)
    return frames, min((place for place in damaged if place >= first), default=None)


def _to_rgb(frame: av.VideoFrame) -> Frame:
    """(H, W, 3) uint8, transparency laid on white, turned upright as the rotation tag says."""
    import numpy as np

    if _has_alpha(frame.format):
        rgba = frame.to_ndarray(format="rgba", channel_last=True).astype(np.uint16)
        alpha = rgba[..., 3:]
        picture = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    else:
        picture = frame.to_ndarray(format="rgb24", channel_last=True).astype(np.uint8, copy=False)
    return np.rot90(picture, round(frame.rotation / 90)) if frame.rotation else picture


def _stderr_size() -> int:
    return os.fstat(2).st_size


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def serve() -> None:
    """The worker's loop until input ends: a JSON request a line in, a JSON line and the frames' bytes out.

    The pipes are moved away from descriptors 0 and 1 first, so nothing that a decoder prints or reads
    can mix in.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    for line in requests:
        request = json.loads(line)
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)
        # The parent kills a worker that takes too long; this is for a worker whose parent is gone.
        faulthandler.dump_traceback_later(request.pop("timeout_s") + 10, exit=True)
        reply, frames = _answer(request)
        faulthandler.cancel_dump_traceback_later()
        try:
            _send(replies, reply, frames)
        except BrokenPipeError:
            sys.exit(0)


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], Frame | None]:
    try:
        decoded = decode_clip(**request)
    except MediaError as error:
        return {"error": error.what, "hint": error.hint}, None
    except ImportError as error:
        return {"error": f"clips need {error.name}, which is not installed", "hint": "pip install av"}, None
    except Exception as error:  # a decoder's own bug: the caller hears of it, and the next clip is served
        what = f"the decoder failed: {type(error).__name__}: {_reason(error)}"
        return {"error": what, "hint": HINT_REENCODE}, None
    reply = {"shape": decoded.frames.shape, "times_s": decoded.times_s, "duration_s": decoded.duration_s}
    return {**reply, "decoder": decoded.decoder}, decoded.frames


def _send(replies: IO[bytes], reply: dict[str, Any], frames: Frame | None) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    if frames is not None:
        replies.write(frames.data)
    replies.flush()
