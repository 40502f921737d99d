"""Model families: what is particular to one architecture, and nowhere else.

Families differ in eleven ways: which modules are the vision tower (never quantized), which tokens attend to each other
in both directions, how positions count, which media cannot be combined, how the released files name and join the
weights, what the processor's files leave out, whether pictures are cut into crops, what the vision tower reads, which
linear layers take no adapter, what the files call the language-model head, and what the configuration calls the width
of a hidden state. All other code treats them alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.errors import InputError
from yoj_cli.groups import Media


@dataclass(frozen=True)
class Released:
    """How a family's released files, and the code that was released with them, write the weights.

    Attributes:
        architecture: the class that reads them.
        roots: what the name of a weight starts with, after "model.".
        layers: language layers by their released names, each with the decoder's layers that its rows are split into.
        embedding: the two weights that the decoder's one embedding is split into: vocab_size rows, and
            additional_vocab_size rows. transformers reads any other split as well, the released code only this one.
    """

    architecture: str
    roots: tuple[str, ...]
    layers: Mapping[str, tuple[str, ...]] = field(hash=False)
    embedding: tuple[str, str]


@dataclass(frozen=True)
class Family:
    """What is particular to one model architecture.

    Attributes:
        name: transformers' model_type.
        vision_modules: modules kept in the compute dtype when the rest is quantized.
        language_prefix: where the language model lives; adapters belong there and nowhere else.
        bidirectional_media_attention: picture and frame tokens attend to each other in both directions.
        adds_bos: the sequence starts with the tokenizer's bos token although the template does not say so.
        mixes_media: pictures and clips may stand in one prompt.
        max_clips: clips allowed in one prompt; None for no limit.
        has_spatial_positions: a token has a place in time, height and width (mRoPE).
        cuts_crops: a picture is cut into crops, up to a number that its processor has as `max_crops`.
        normalizes_clips: clip frames are scaled like pictures although the processor's files may not say so.
        reads_frames_apart: each frame of a clip gives tensors of its own, whatever the others are.
        released: how the released files write the weights, where that is not how the decoder names them.
        encodes: for each kind of media, which of the processor's tensors the vision tower reads.
        counts_patches: tensors that hold numbers of patches, each with the pixels that it counts in.
        unadapted: last names of linear layers that get no adapter.
        lm_head: what the names of the language-model head's weights start with, in files that have one.
        width: what the configuration calls the numbers of a token's last hidden state.
    """

    name: str
    vision_modules: tuple[str, ...] = ()
    language_prefix: str = ""
    bidirectional_media_attention: bool = False
    adds_bos: bool = False
    mixes_media: bool = False
    max_clips: int | None = 0
    has_spatial_positions: bool = False
    cuts_crops: bool = False
    normalizes_clips: bool = False
    reads_frames_apart: bool = False
    released: Released | None = None
    encodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    counts_patches: Mapping[str, str] = field(default_factory=dict, hash=False)
    unadapted: tuple[str, ...] = ()
    lm_head: str = "lm_head."
    width: str = "hidden_size"

    @property
    def reads_media(self) -> bool:
        return bool(self.vision_modules)

    def check_media(self, media: Sequence[Media]) -> None:
        """Refuse what this family cannot read.

        Raises:
            InputError: pictures or clips in a combination or number that the family does not read.
        """
        clips = sum(medium.kind != "image" for medium in media)
        if media and not self.reads_media:
            raise InputError(
                f"the backbone ({self.name}) reads text only, and the group has a picture or a clip"
            )
        if clips and clips != len(media) and not self.mixes_media:
            raise InputError(f"the backbone ({self.name}) cannot read pictures and clips in one prompt")
        if self.max_clips is not None and clips > self.max_clips:
            raise InputError(
                f"the backbone ({self.name}) reads {self.max_clips} clip a prompt, the group has {clips}"
            )

    def positions(
        self, model: nn.Module, input_ids: Tensor, media_types: Tensor, media_inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Position ids of a sequence without branches; see `Backbone.positions`."""
        if not self.has_spatial_positions:
            return torch.arange(input_ids.shape[1]).unsqueeze(0)
        positions, _ = model.get_rope_index(  # type: ignore[operator]
            input_ids,
            media_types,
            image_grid_thw=media_inputs.get("image_grid_thw"),
            video_grid_thw=media_inputs.get("video_grid_thw"),
        )
        return torch.as_tensor(positions)

    def mend_processor(self, processor: Any) -> None:
        """Have Molmo2's clip frames scaled and normalized like its pictures, where the processor's files do not say.

        The code that the weights were made with does so by default; transformers' own leaves both unset, and
        the vision tower would see values up to 255 where it was trained on -1 to 1.
        """
        if not self.normalizes_clips:
            return
        for name in ("do_rescale", "do_normalize"):
            if getattr(processor.video_processor, name, None) is None:
                setattr(processor.video_processor, name, True)

    def own_crops(self, processor: Any) -> int | None:
        """Most crops that a processor cuts a picture into; None where the family cuts none."""
        return int(processor.image_processor.max_crops) if self.cuts_crops else None

    def layers_of(self, name: str) -> tuple[str, ...]:
        """The decoder's layers that a layer of the released files holds, in the order of its rows.

        Any other name is the decoder's own, and is given back.
        """
        number = re.search(r"\.(\d+)\.", name)
        if self.released is None or number is None:
            return (name,)
        layers = self.released.layers.get(name.replace(number[0], ".*.", 1), ())
        return tuple(layer.replace(".*.", number[0]) for layer in layers) or (name,)

    def released_name(self, layer: str) -> str:
        """What the released files call the layer that one of the decoder's is a part of; the reverse of `layers_of`."""
        number = re.search(r"\.(\d+)\.", layer)
        if self.released is not None and number is not None:
            own = layer.replace(number[0], ".*.", 1)
            for name, parts in self.released.layers.items():
                if own in parts:
                    return name.replace(".*.", number[0])
        return layer

    def count_media_tokens(self, kind: str, inputs: Mapping[str, Tensor], processor: Any) -> tuple[int, ...]:
        """Numbers of media tokens, those that get vision features: of a picture, or of each moment of a clip.

        Args:
            kind: "image" or "video".
            inputs, processor: what the kind's processor gave for one medium, and itself.
        """
        pooled, grid = self.encodes[kind][1], inputs[self.encodes[kind][-1]][0].tolist()
        if pooled in self.counts_patches:  # the patches that are joined to each token, -1 for none
            n_tokens = int((inputs[pooled] >= 0).any(-1).sum())
        else:
            n_tokens = math.prod(grid) // int(processor.merge_size**2)
        n_moments = grid[0] if kind == "video" else 1
        return (n_tokens // n_moments,) * n_moments

    def collate_media(self, inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Collate the media tensors of several groups, as the processor would give them for all at once.

        Args:
            inputs: at least one; tensors of one kind of media, by the model's argument names.
        """
        if len(inputs) == 1:
            return dict(inputs[0])
        joined: dict[str, list[Tensor]] = {}
        n_patches: dict[str, int] = {}
        for own in inputs:
            for name, tensor in own.items():
                before = n_patches.get(self.counts_patches.get(name, ""), 0)
                # -1 means no patch.
                shifted = torch.where(tensor >= 0, tensor + before, tensor) if before else tensor
                joined.setdefault(name, []).append(shifted)
            for name in self.counts_patches.values():
                if name in own:
                    n_patches[name] = n_patches.get(name, 0) + own[name].shape[0] * own[name].shape[1]
        return {name: torch.cat(tensors) for name, tensors in joined.items()}


MOLMO2 = Family(
    "molmo2",
    vision_modules=("vision_tower", "multi_modal_projector"),
    language_prefix="language_model",
    bidirectional_media_attention=True,
    adds_bos=True,
    max_clips=1,
    cuts_crops=True,
    normalizes_clips=True,
    reads_frames_apart=True,
    released=Released(
        architecture="Molmo2ForConditionalGeneration",
        roots=("transformer.", "vision_backbone."),
        layers={
            "transformer.blocks.*.self_attn.att_proj": (
                "language_model.layers.*.self_attn.q_proj",
                "language_model.layers.*.self_attn.k_proj",
                "language_model.layers.*.self_attn.v_proj",
            ),
            "transformer.blocks.*.self_attn.attn_out": ("language_model.layers.*.self_attn.o_proj",),
            "transformer.blocks.*.mlp.ff_proj": (
                "language_model.layers.*.mlp.up_proj",  # the half that is not gated comes first
                "language_model.layers.*.mlp.gate_proj",
            ),
            "transformer.blocks.*.mlp.ff_out": ("language_model.layers.*.mlp.down_proj",),
        },
        embedding=("transformer.wte.embedding", "transformer.wte.new_embedding"),
    ),
    encodes={
        "image": ("pixel_values", "image_token_pooling", "image_grids"),
        "video": ("pixel_values_videos", "video_token_pooling", "video_grids"),
    },
    counts_patches={"image_token_pooling": "pixel_values", "video_token_pooling": "pixel_values_videos"},
)
QWEN3_VL = Family(
    "qwen3_vl",
    vision_modules=("visual",),
    language_prefix="language_model",
    mixes_media=True,
    max_clips=None,
    has_spatial_positions=True,
    encodes={
        "image": ("pixel_values", "image_grid_thw"),
        "video": ("pixel_values_videos", "video_grid_thw"),
    },
)


KNOWN = {family.name: family for family in (MOLMO2, QWEN3_VL)}

MAMBA2 = ("bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "zamba2")
TEXT_ONLY = {
    family.name: family
    for family in (
        Family("gpt_neox", lm_head="embed_out."),
        Family("opt", width="word_embed_proj_dim"),  # OPT-350m's layers are wider than its embedding
        # Their routers give several tensors, where an adapter adds to one.
        *(Family(name, unadapted=("router",)) for name in ("llama4_text", "phimoe")),
        # Their mixers read the weight of one layer themselves (in kernels, Mamba 2), and would pass an adapter by.
        Family("jamba", unadapted=("dt_proj",)),
        *(Family(name, unadapted=("out_proj",)) for name in MAMBA2),
    )
}
"""Decoders that are read as text only, and differ from the plain one in something."""


def family_of(model_type: str) -> Family:
    """The family of a transformers model_type; one we do not know is read as a plain text-only decoder."""
    return (KNOWN | TEXT_ONLY).get(model_type, Family(model_type))
