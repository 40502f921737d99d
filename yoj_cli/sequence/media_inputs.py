"""Pictures and clips as the tensors that a model family reads, on the CPU."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yoj_cli.errors import CheckpointError, MediaError
from yoj_cli.media.load import Clip, Picture
from yoj_cli.model.device import is_out_of_memory
from yoj_cli.storage.files import translate_load_errors

N_PROCESSED = 8
PROCESSED_BYTES = 128 << 20
"""Groups whose media tensors are cached: at most so many, and so large together; the last one always."""

SAMPLE = (2, 90, 130, 3)
"""Frames, rows, columns and colours of the clip that a processor is tried with, and its first frame as a picture."""

PART_PX = 16_000_000
"""Of a clip's frames that are scaled at once."""

MediaKey: TypeAlias = tuple[tuple[str, str], ...]
"""The kind and the digest of each of a group's media, in order."""


@dataclass(frozen=True)
class Processed:
    """A group's media as the family's processor makes them.

    Attributes:
        key: equal exactly when the media are; None where nothing is known of them.
        inputs: pixel tensors and grids, by the model's argument names.
        expansions: for each media placeholder token, the tokens of the first, second, … medium of its kind.
    """

    key: MediaKey | None
    inputs: dict[str, Tensor]
    expansions: dict[str, list[str]]


class MediaProcessor:
    """Turns pictures and clips into the tensors of one family; safe to call from several threads at once.

    The last few are cached: a file often has consecutive groups with the same picture.

    Args:
        processor: the family's, with an image and a video processor.
        pin: in pinned memory, which a GPU copies from while it computes.
        reads_frames_apart: see `Family`.
    """

    def __init__(self, processor: Any, *, pin: bool = False, reads_frames_apart: bool = False) -> None:
        self._processor, self._pin = processor, pin
        self._reads_frames_apart = reads_frames_apart
        self._lock = threading.Lock()
        self._kept: OrderedDict[MediaKey, Future[Processed]] = OrderedDict()

    def check(self, where: str) -> None:
        """Have a small picture and a small clip read: what the processor's files get wrong is no group's fault.

        Args:
            where: the checkpoint, for errors.
        Raises:
            CheckpointError: the processor cannot read them, or makes no numbers of them.
        """
        frames = np.zeros(SAMPLE, np.uint8)
        samples = (Picture(Image.fromarray(frames[0]), ""), Clip(frames, (0.0, 1.0), 2.0, ""))
        with translate_load_errors("a processor that reads pictures and clips", where):
            found = [self._run([sample], None)[0] for sample in samples]
        for name, tensor in ((name, tensor) for inputs in found for name, tensor in inputs.items()):
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise CheckpointError(f"the processor makes {name} that are no numbers", where=where)

    def process(self, media: Sequence[Picture | Clip], max_crops: int | None = None) -> Processed:
        """A group's media as tensors; if another thread is processing the same ones, its result is awaited.

        Args:
            max_crops: most crops that a picture is cut into; None for the processor's own number.
        Raises:
            MediaError: the family's processor cannot read them.
        """
        how = f", {max_crops} crops" if max_crops else ""
        key = tuple(
            ("image", f"{medium.digest}{how}") if isinstance(medium, Picture) else ("video", medium.digest)
            for medium in media
        )
        if not key:
            return Processed((), {}, {})
        ours: Future[Processed] = Future()
        with self._lock:
            kept = self._kept.get(key)
            self._kept[key] = kept or ours
            self._kept.move_to_end(key)
            if len(self._kept) > N_PROCESSED:
                self._kept.popitem(last=False)
        if kept is not None:
            return kept.result()
        try:
            ours.set_result(self._process(key, media, max_crops))
            self._drop_oldest()
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)
            ours.set_exception(error)
        return ours.result()

    def _drop_oldest(self) -> None:
        with self._lock:
            n_bytes = sum(_count_bytes(each) for each in self._kept.values())
            while n_bytes > PROCESSED_BYTES and len(self._kept) > 1:
                n_bytes -= _count_bytes(self._kept.popitem(last=False)[1])

    def _process(self, key: MediaKey, media: Sequence[Picture | Clip], max_crops: int | None) -> Processed:
        try:
            inputs, expansions = self._run(media, max_crops)
        except Exception as error:  # the library's processors raise whatever their arithmetic trips over
            if is_out_of_memory(error):
                raise
            raise MediaError(
                f"the judge's processor cannot read the group's media: {error or type(error).__name__}",
                hint="It may be far too small, too large, too wide or too high; scale it or cut it.",
            ) from error
        if self._pin:
            inputs = {name: tensor.pin_memory() for name, tensor in inputs.items()}
        return Processed(key, inputs, expansions)

    def _run(
        self, media: Sequence[Picture | Clip], max_crops: int | None
    ) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Inputs and expansions, as `Processed` describes them."""
        processor = self._processor
        pictures = [medium.image for medium in media if hasattr(medium, "image")]
        clips = [medium for medium in media if not hasattr(medium, "image")]
        inputs: dict[str, Any] = {}
        expansions: dict[str, list[str]] = {}
        if pictures:
            crops = {"max_crops": max_crops} if max_crops else {}
            found = processor.image_processor(images=pictures, return_tensors="pt", **crops)
            inputs.update(found)
            expansions[processor.image_token] = [
                processor.replace_image_token(found, image_idx=index) for index in range(len(pictures))
            ]
        if clips:
            found = process_clips(processor.video_processor, clips, in_parts=self._reads_frames_apart)
            expansions[processor.video_token] = [
                processor.replace_video_token(found, video_idx=index) for index in range(len(clips))
            ]
            inputs.update({name: value for name, value in found.items() if name != "video_metadata"})
        return inputs, expansions


def _count_bytes(processed: Future[Processed]) -> int:
    """0 for what is still in work; whoever waits for it has it by other means."""
    if not processed.done() or processed.exception() is not None:
        return 0
    return sum(tensor.nbytes for tensor in processed.result().inputs.values())


def process_clips(video_processor: Any, clips: Sequence[Clip], *, in_parts: bool = False) -> Any:
    """What a family's clip processor gives for frames that were chosen before.

    Args:
        in_parts: hand large frames over a few at a time, because the processor makes floats of all that it gets at
            once: 12 bytes a pixel.
    """
    parts = [clip.frames[cut] for clip in clips for cut in _parts_of(clip, in_parts)]
    n_parts = [len(_parts_of(clip, in_parts)) for clip in clips]
    metadata = [_clip_metadata(clip) for clip, n in zip(clips, n_parts, strict=True) for _ in range(n)]
    found = video_processor(
        videos=[torch.from_numpy(frames).permute(0, 3, 1, 2) for frames in parts],
        video_metadata=metadata,
        do_sample_frames=False,
        return_metadata=True,
        return_tensors="pt",
    )
    if len(parts) > len(clips):
        firsts = [sum(n_parts[:place]) for place in range(len(clips))]
        found["video_metadata"] = [found["video_metadata"][first] for first in firsts]
        grids = found["video_grids"]  # (parts, 3): frames, rows, columns
        found["video_grids"] = grids[firsts]
        found["video_grids"][:, 0] = torch.tensor([len(clip.frames) for clip in clips])
    return found


def _parts_of(clip: Clip, in_parts: bool) -> list[slice]:
    n_frames, height, width, _ = clip.frames.shape
    step = max(PART_PX // (height * width), 1) if in_parts else n_frames
    return [slice(start, start + step) for start in range(0, n_frames, step)]


def _clip_metadata(clip: Clip) -> dict[str, Any]:
    """Sampled frames with the instants to print: the processors divide `frames_indices` by `fps`."""
    return {
        "fps": 1.0,
        "frames_indices": list(clip.times_s),
        "total_num_frames": len(clip.times_s),
        "duration": clip.duration_s,
        "height": clip.frames.shape[1],
        "width": clip.frames.shape[2],
    }
