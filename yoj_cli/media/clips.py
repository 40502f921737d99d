"""Decoding exactly the frames of a clip that are shown.

A clip's packets are listed first (PyAV, no decoding), which gives every frame's exact time. decord decodes
the frames that `sampling` chose where it can, PyAV otherwise; both go by the same list, so they agree.

A frame that depends on damaged data is an error, never a repaired or neighbouring frame.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoj_cli.config.limits import LIMITS
from yoj_cli.errors import MediaError
from yoj_cli.media.containers import (
    N_THREADS,
    check_shown,
    check_size,
    count_frames,
    find_stream,
    has_alpha,
    open_clip,
    read_timeline,
    reason_of,
)
from yoj_cli.media.hints import HINT_REENCODE
from yoj_cli.media.sampling import Timeline, sample_times

if TYPE_CHECKING:
    import av
    import numpy as np
    from av.container import InputContainer
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """The F frames that are shown of a clip, each (H, W, 3) uint8 RGB, at `times_s`; some may be one object."""

    frames: list[Frame]
    times_s: tuple[float, ...]
    duration_s: float
    decoder: str


@dataclass(frozen=True)
class Decoded:
    """The same as one array: frames (F, H, W, 3)."""

    frames: Frame
    times_s: tuple[float, ...]
    duration_s: float
    decoder: str


def decode_clip(path: str, *, max_frames: int, max_pixels: int, use_decord: bool = True) -> Decoded:
    """`read_frames` as one array."""
    import numpy as np

    shown = read_frames(path, max_frames=max_frames, max_pixels=max_pixels, use_decord=use_decord)
    return Decoded(np.stack(shown.frames), shown.times_s, shown.duration_s, shown.decoder)


def check_clip(path: str, *, max_pixels: int, name: str = "") -> tuple[int, int]:
    """Read the headers only.

    Args:
        name: what the file is called, where its path does not say.
    Returns:
        Width and height of its frames, as they are stored.
    Raises:
        MediaError: not a clip, or too large.
    """
    with closing(open_clip(path, name)) as container:
        stream = find_stream(container, path)
        check_size(stream, path, max_pixels)
        return stream.codec_context.width, stream.codec_context.height


def read_frames(
    path: str,
    *,
    max_frames: int,
    max_pixels: int,
    max_clip_pixels: int = LIMITS.clip_pixels,
    use_decord: bool = True,
    name: str = "",
) -> Shown:
    """Sample and decode one clip in this process.

    Args:
        name: what the file is called, where its path does not say.
    Raises:
        MediaError: not a clip, too large, or a frame that is needed cannot be decoded.
    """
    with closing(open_clip(path, name)) as container:
        stream = find_stream(container, path)
        check_size(stream, path, max_pixels)
        plain = not stream.codec_context.format or not has_alpha(stream.codec_context.format)
        timeline = read_timeline(container, stream, path)
    if timeline is None:
        timeline = count_frames(path)
    times = sample_times(timeline.duration_s, max_frames)
    check_shown(stream, len(times), path, max_clip_pixels)
    shown = [timeline.shown_at(time) for time in times]
    wanted = sorted(set(shown))
    frames = None
    is_orderly = timeline.is_closed and timeline.is_increasing and not timeline.is_counted
    if use_decord and plain and is_orderly:
        frames = _decode_with_decord(path, timeline, wanted)
    decoder = "pyav" if frames is None else "decord"
    if frames is None:
        frames = _decode_with_pyav(path, timeline, wanted)
    if len({frame.shape for frame in frames.values()}) > 1:
        raise MediaError("the picture size changes within the clip", where=path, hint=HINT_REENCODE)
    return Shown(
        frames=[frames[index] for index in shown],
        times_s=tuple(float(time) for time in times),
        duration_s=float(timeline.duration_s),
        decoder=decoder,
    )


def _decode_with_decord(path: str, timeline: Timeline, wanted: Sequence[int]) -> dict[int, Frame] | None:
    """None whenever decord is absent, fails, complains, or sees other frames than the timeline has.

    decord repairs damaged frames in silence; its decoder's complaints on standard error are the only
    sign. Where a frame is shown before a key frame but decoded after it (open groups, usual in H.265), its
    seek counts wrong and gives a neighbour; where frames share a time it may never return. Such clips must not
    come here.
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
    except (
        Exception
    ):  # decord's errors have no base class of their own; PyAV says what is wrong, if anything is
        return None
    if _stderr_size() != complaints:
        return None
    return dict(zip(wanted, batch, strict=True))


def _decode_with_pyav(path: str, timeline: Timeline, wanted: Sequence[int]) -> dict[int, Frame]:
    import av

    try:
        return _decode_runs(path, timeline, wanted)
    except av.FFmpegError as error:  # reading itself stopped, not one packet
        raise MediaError(
            f"the clip is damaged: {reason_of(error)}", where=path, hint=HINT_REENCODE
        ) from error


def _decode_runs(path: str, timeline: Timeline, wanted: Sequence[int]) -> dict[int, Frame]:
    runs: dict[int, list[int]] = {}
    for index in wanted:
        runs.setdefault(timeline.key_before(index), []).append(index)
    frames: dict[int, Frame] = {}
    with closing(open_clip(path)) as container:
        stream = find_stream(container, path)
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
    with closing(open_clip(path)) as container:
        stream = find_stream(container, path)
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
    """(H, W, 3) uint8, transparency composited on white, turned upright as the rotation tag says."""
    import numpy as np

    if has_alpha(frame.format):
        rgba = frame.to_ndarray(format="rgba", channel_last=True).astype(np.uint16)
        alpha = rgba[..., 3:]
        picture = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    else:
        picture = frame.to_ndarray(format="rgb24", channel_last=True).astype(np.uint8, copy=False)
    return np.rot90(picture, round(frame.rotation / 90)) if frame.rotation else picture


def _stderr_size() -> int:
    return os.fstat(2).st_size
