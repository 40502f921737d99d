"""Pictures and clips: processed once, encoded once, and remembered for the groups that show them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from yoj_cli.errors import MediaError
from yoj_cli.judge.backbone import is_out_of_memory
from yoj_cli.judge.transfer import send

if TYPE_CHECKING:
    from yoj_cli.inputs.media import Clip, Picture
    from yoj_cli.judge.backbone import Backbone
    from yoj_cli.judge.layout import Layout

MEMORY_BYTES = 256 << 20
"""Features that are kept on the device: some 8 MB a picture of a 4B judge in bfloat16."""

N_PROCESSED = 8
"""Media that are kept as pixels: some 15 MB a picture and 30 MB a clip."""

MediaKey: TypeAlias = tuple[tuple[str, str], ...]
"""The kind and the digest of each of a group's media, in order."""


@dataclass(frozen=True)
class Processed:
    """A group's media as the family's processor makes them.

    Attributes:
        key: equal exactly when the media are; None where nothing is known of them.
        inputs: pixel tensors and grids, by the model's argument names.
        expansions: for each placeholder token, the tokens that stand for the first, second, … of its kind.
    """

    key: MediaKey | None
    inputs: dict[str, Tensor]
    expansions: dict[str, list[str]]


class MediaProcessor:
    """Turns pictures and clips into the tensors of one family; safe to call from several threads at once.

    The last few are kept: a file often has several groups with one picture, side by side.

    Args:
        processor: the family's, with an image and a video processor.
        pin: keep the tensors where a GPU can copy them from while it computes.
    """

    def __init__(self, processor: Any, *, pin: bool = False) -> None:
        self._processor, self._pin = processor, pin
        self._lock = threading.Lock()
        self._kept: OrderedDict[MediaKey, Future[Processed]] = OrderedDict()

    def process(self, media: Sequence[Picture | Clip]) -> Processed:
        """A group's media as the model reads them; what another thread is just processing is waited for.

        Raises:
            MediaError: the family's processor cannot read them.
        """
        key = tuple(("image" if hasattr(medium, "image") else "video", medium.digest) for medium in media)
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
            ours.set_result(self._process(key, media))
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)
            ours.set_exception(error)
        return ours.result()

    def _process(self, key: MediaKey, media: Sequence[Picture | Clip]) -> Processed:
        try:
            inputs, expansions = self._run(media)
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

    def _run(self, media: Sequence[Picture | Clip]) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Inputs and expansions, as `Processed` describes them."""
        processor = self._processor
        pictures = [medium.image for medium in media if hasattr(medium, "image")]
        clips = [medium for medium in media if not hasattr(medium, "image")]
        inputs: dict[str, Any] = {}
        expansions: dict[str, list[str]] = {}
        if pictures:
            found = processor.image_processor(images=pictures, return_tensors="pt")
            inputs.update(found)
            expansions[processor.image_token] = [
                processor.replace_image_token(found, image_idx=index) for index in range(len(pictures))
            ]
        if clips:
            found = process_clips(processor.video_processor, clips)
            expansions[processor.video_token] = [
                processor.replace_video_token(found, video_idx=index) for index in range(len(clips))
            ]
            inputs.update({name: value for name, value in found.items() if name != "video_metadata"})
        return inputs, expansions


def process_clips(video_processor: Any, clips: Sequence[Clip]) -> Any:
    """What a family's clip processor gives for frames that were chosen before."""
    return video_processor(
        videos=[torch.from_numpy(clip.frames).permute(0, 3, 1, 2) for clip in clips],
        video_metadata=[_clip_metadata(clip) for clip in clips],
        do_sample_frames=False,
        return_metadata=True,
        return_tensors="pt",
    )


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


@dataclass(frozen=True)
class Features:
    """What the vision tower says of a group's pictures, or of its clips.

    Attributes:
        pooled: (M, H) one row for each of their M tokens.
        deep: (M, H) for each of the first language layers, added there (Qwen3-VL's deepstack); or none.
    """

    pooled: Tensor
    deep: tuple[Tensor, ...]

    @property
    def n_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.pooled, *self.deep))


Encoded: TypeAlias = dict[str, Features]
"""A group's features, by the kind of medium: "image", "video"."""


def encode(backbone: Backbone, groups: Sequence[Mapping[str, Tensor]]) -> list[Encoded]:
    """Run the vision tower, once for all media of a kind.

    Args:
        groups: the `media_inputs` of each group.
    Returns:
        Features of each group, in the order given.
    """
    encoded: list[Encoded] = [{} for _ in groups]
    for kind, names in backbone.family.encodes.items():
        places = [place for place, inputs in enumerate(groups) if names[0] in inputs]
        if not places:
            continue
        own = [{name: groups[place][name] for name in names} for place in places]
        joined = backbone.family.join_media(own)
        arguments = {name: send(tensor, backbone.device) for name, tensor in joined.items()}
        found = getattr(backbone.model, f"get_{kind}_features")(**arguments)
        layers = getattr(found, "deepstack_features", None) or ()
        start = 0
        for place, inputs in zip(places, own, strict=True):
            end = start + len(inputs[names[-1]])  # the grids: a row for each medium
            encoded[place][kind] = Features(
                torch.cat(found.pooler_output[start:end]),
                tuple(torch.cat(layer[start:end]) for layer in layers),
            )
            start = end
    return encoded


def encoder_outputs(groups: Sequence[Encoded]) -> dict[str, Any]:
    """Features as the models' argument `mm_encoder_outputs`: they take their places in the order given."""
    outputs: dict[str, Any] = {}
    for kind in dict.fromkeys(kind for group in groups for kind in group):
        own = [group[kind] for group in groups if kind in group]
        outputs[kind] = SimpleNamespace(
            pooler_output=tuple(features.pooled for features in own),
            deepstack_features=list(zip(*(features.deep for features in own), strict=True)),
        )
    return outputs


class FeatureMemory:
    """Features of the media seen last, up to a number of bytes on the device.

    Attributes:
        n_asked: groups whose media were asked for.
        n_encoded: those of them whose media had to be encoded.
    """

    def __init__(self, max_bytes: int = MEMORY_BYTES) -> None:
        self.max_bytes = max_bytes
        self.n_asked = self.n_encoded = self.n_bytes = 0
        self._kept: OrderedDict[MediaKey, Encoded] = OrderedDict()

    def encode(self, backbone: Backbone, layouts: Sequence[Layout]) -> list[Encoded]:
        """Features of each group, in the order given; what is known, or stands there twice, is not encoded again."""
        keys = [layout.media_key or ((str(place), ""),) for place, layout in enumerate(layouts)]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: layout for key, layout in zip(keys, layouts, strict=True) if key not in found}
        new = encode(backbone, [layout.media_inputs for layout in missing.values()]) if missing else []
        found |= dict(zip(missing, new, strict=True))
        self.n_asked += len(layouts)
        self.n_encoded += len(missing)
        for layout in layouts:
            if layout.media_key is not None:
                self._keep(layout.media_key, found[layout.media_key])
        return [found[key] for key in keys]

    def clear(self) -> None:
        """Give the memory back."""
        self._kept.clear()
        self.n_bytes = 0

    def _keep(self, key: MediaKey, encoded: Encoded) -> None:
        if key not in self._kept:
            self.n_bytes += _count_bytes(encoded)
        self._kept[key] = encoded
        self._kept.move_to_end(key)
        while self.n_bytes > self.max_bytes:
            self.n_bytes -= _count_bytes(self._kept.popitem(last=False)[1])


def _count_bytes(encoded: Encoded) -> int:
    return sum(features.n_bytes for features in encoded.values())
