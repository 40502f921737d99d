"""Architectures with random weights, built on the device: what a pass costs does not depend on the values.

A 4B model needs no 9 GB file and is never whole in memory twice: it is built without values, and each layer gets
its random ones, quantized at once where that is asked for.
"""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.bench.case import Sizes
from yoj_cli.bench.pictures import draw_clip, draw_noise, find_n_frames, find_side
from yoj_cli.bench.random_ids import Medium
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.model.attention import install
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import resolve_device
from yoj_cli.model.family import Family, family_of
from yoj_cli.model.head import HeadConfig, ValueHead
from yoj_cli.model.precision import resolve_dtype, resolve_quant
from yoj_cli.model.quantization import set_compute_dtype
from yoj_cli.model.side_effects import quietly
from yoj_cli.sequence.media_inputs import process_clips

HEAD_DIM = 1024
"""Width of the published head's middle layer."""

STORED_BYTES = 2
"""A parameter's, in the bfloat16 files that models are published in."""

WAYS_OUT = "`--random-init tiny` runs anywhere; `--device cpu` is slow."


def read_architecture(name: str) -> dict[str, Any]:
    """One of our descriptions: "title", "model" (what differs from transformers' defaults), "pictures", "clips"."""
    found: dict[str, Any] = json.loads((files("yoj_cli.bench") / f"{name}.json").read_text(encoding="utf-8"))
    return found


@quietly()
def build_random(name: str, config: JudgeConfig, seed: int) -> tuple[Backbone, ValueHead]:
    """A backbone and a head of random weights on the device; there is no tokenizer.

    Args:
        name: molmo2-4b, qwen3-vl-4b or tiny.
        config: device, quant and dtype; the rest is not used.
        seed: of the weights. A GPU draws others than a CPU.
    Raises:
        DeviceError: no such device.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModel

    model_config = AutoConfig.for_model(**read_architecture(name)["model"])
    with init_empty_weights(include_buffers=False):  # rotary tables are buffers, and computed here
        model = AutoModel.from_config(model_config, attn_implementation="sdpa")
    family = family_of(model_config.model_type)
    n_parameters = sum(weight.numel() for weight in model.parameters())
    device = resolve_device(config, n_parameters * STORED_BYTES, ways_out=WAYS_OUT)
    dtype = resolve_dtype(config.dtype, device)
    quant = resolve_quant(config.quant, device, dtype, n_parameters=n_parameters)
    generator = torch.Generator(device).manual_seed(seed)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and path.startswith(family.language_prefix) and quant != "none":
            model.set_submodule(path, _build_quantized(module, quant, device, dtype, generator))
        else:
            _fill(module, device, dtype, generator)
    model.to(device).eval().requires_grad_(False)  # the buffers that are left
    set_compute_dtype(model, dtype, stored=False)
    install(model)
    backbone = Backbone(model, None, family, device, dtype, quant)
    return backbone, _build_head(backbone, seed)


def _build_head(backbone: Backbone, seed: int) -> ValueHead:
    """A head whose scores differ by much more than rounding: the divisor of a trained one is left out."""
    head = ValueHead(HeadConfig("mlp", HEAD_DIM, "silu", backbone.hidden_size, 1.0))
    generator = torch.Generator().manual_seed(seed)
    for weight in head.parameters():
        weight.data.normal_(std=1 / math.sqrt(weight.shape[-1]), generator=generator)
    return head.to(backbone.device).eval().requires_grad_(False)


def _fill(module: nn.Module, device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Give a module's own parameters values: random matrices, norms of one and biases of zero."""
    for name, weight in list(module.named_parameters(recurse=False)):
        value = torch.empty(weight.shape, device=device, dtype=dtype)
        if weight.ndim > 1:
            value.normal_(std=_deviation(weight), generator=generator)
        else:
            value.fill_(float(name == "weight"))
        setattr(module, name, nn.Parameter(value, requires_grad=False))


def _deviation(weight: Tensor) -> float:
    """One over the root of the inputs: what goes in has the size of what comes out, and pictures are seen.

    At 0.02, the families' own, a picture moves the scores of a narrow model by less than rounding does.
    """
    return 1 / math.sqrt(weight[0].numel())


def _build_quantized(
    empty: nn.Linear, quant: str, device: torch.device, dtype: torch.dtype, generator: torch.Generator
) -> nn.Module:
    """A layer of the shape of `empty`, quantized from random weights as transformers does from real ones."""
    from bitsandbytes import nn as bnb

    shape, has_bias = (empty.out_features, empty.in_features), empty.bias is not None
    weight = torch.empty(shape, device=device, dtype=dtype)
    weight.normal_(std=_deviation(weight), generator=generator)
    layer: nn.Module
    if quant == "4bit":
        layer = bnb.Linear4bit(
            *shape[::-1],
            bias=has_bias,
            compute_dtype=dtype,
            compress_statistics=False,
            quant_type="nf4",
            device="meta",
        )
        packed = bnb.Params4bit(
            weight, requires_grad=False, compress_statistics=False, quant_type="nf4", module=layer
        )
    else:
        layer = bnb.Linear8bitLt(
            *shape[::-1], bias=has_bias, has_fp16_weights=False, threshold=6.0, device="meta"
        )
        # It is quantized on its way to a device, and only from the CPU.
        packed = bnb.Int8Params(weight.cpu(), requires_grad=False, has_fp16_weights=False)
    layer.weight = packed.to(device)
    if has_bias:
        layer.bias = nn.Parameter(torch.zeros(shape[0], device=device, dtype=dtype), requires_grad=False)
    return layer


def draw_media(name: str, sizes: Sizes, n_media: int, seed: int) -> list[Medium | None]:
    """A picture or a clip for each group, as the sizes say, or none."""
    if sizes.clip:
        return list(draw_clips(name, sizes.clip, n_media, seed))
    return draw_pictures(name, sizes.picture, n_media, seed)


def draw_pictures(name: str, n_tokens: int, n_pictures: int, seed: int) -> list[Medium | None]:
    """Noise through the architecture's own picture processor.

    Args:
        n_tokens: about so many in each; with 0 there are no pictures.
    """
    if not n_tokens:
        return [None] * n_pictures
    family, processor = _processor_of(name, "pictures", "image_processor_type")

    def draw(side_px: int, picture_seed: int) -> Medium:
        found = dict(processor(images=[draw_noise(side_px, picture_seed)], return_tensors="pt"))
        return Medium("image", found, family.count_media_tokens("image", found, processor))

    side = find_side(n_tokens, lambda side_px: draw(side_px, seed).n_tokens)
    return [draw(side, seed + index) for index in range(n_pictures)]


def draw_clips(name: str, n_tokens: int, n_clips: int, seed: int) -> list[Medium]:
    """Noise through the architecture's own clip processor.

    Args:
        n_tokens: about so many in each, at least 1.
    """
    family, processor = _processor_of(name, "clips", "video_processor_type")

    def draw(n_frames: int, clip_seed: int) -> Medium:
        found = process_clips(processor, [draw_clip(n_frames, clip_seed)])
        inputs = {argument: found[argument] for argument in family.encodes["video"]}
        return Medium("video", inputs, family.count_media_tokens("video", inputs, processor))

    n_frames = find_n_frames(n_tokens, lambda n_frames: draw(n_frames, seed).n_tokens)
    return [draw(n_frames, seed + index) for index in range(n_clips)]


def _processor_of(name: str, section: str, type_key: str) -> tuple[Family, Any]:
    """The architecture's family, and its processor for one kind of media."""
    import transformers

    architecture = read_architecture(name)
    options = dict(architecture[section])
    processor = getattr(transformers, options.pop(type_key))(**options)
    return family_of(architecture["model"]["model_type"]), processor
