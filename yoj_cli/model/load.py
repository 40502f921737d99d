"""The backbone: its configuration, and its weights, every one of them accounted for.

transformers' loaders run code of the model's repository where they are told to, and ask on the terminal where they
are told nothing. So every call says whether it may, and for the families that we know it may not.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch

from yoj_cli.config.judge import JudgeConfig, Quant, QuantChoice
from yoj_cli.errors import CheckpointError, ModelError, OutOfMemoryError, first_few
from yoj_cli.model.architecture import check_decoder
from yoj_cli.model.attention import install
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.claims import check_claims, check_counts
from yoj_cli.model.device import translate_oom
from yoj_cli.model.family import KNOWN, Family, family_of
from yoj_cli.model.precision import UNSTATED, Precision, resolve_dtype, resolve_quant
from yoj_cli.model.processor import check_media_tokens, load_processor
from yoj_cli.model.quantization import is_stored_quantized, quantization, set_compute_dtype, stored_quant
from yoj_cli.model.side_effects import quietly
from yoj_cli.storage.files import read_json, translate_load_errors
from yoj_cli.storage.names import ADAPTER_CONFIG, MODEL_CONFIG
from yoj_cli.storage.weights import count_parameters, is_stored_in, open_weights

MEDIA_KEYS = (
    *("vision_config", "audio_config", "encoder_config", "thinker_config"),
    *("image_token_id", "image_token_index", "video_token_id"),
)
"""What the configuration of a model that reads pictures, clips or sound has, and no other's."""


@quietly()
def load_backbone(
    folder: Path,
    config: JudgeConfig,
    device: torch.device,
    *,
    processor_folder: Path,
    trained: Precision = UNSTATED,
    chat_template: str | None = None,
) -> Backbone:
    """Load the decoder, quantized as asked, with every weight accounted for.

    Args:
        folder: transformers model files.
        processor_folder: tokenizer and processor files; the checkpoint's own, which know the separator.
        trained: what `auto` means, where the checkpoint says so.
        chat_template: takes the place of the processor's own, if any.
    Raises:
        ModelError: files that are missing, unreadable or do not fill the architecture.
    """
    dtype = resolve_dtype(config.dtype, device, trained.dtype)
    model_config, family, trust = read_model_config(folder, trust_remote_code=config.trust_remote_code)
    processor = load_processor(processor_folder, family, trust_remote_code=trust, chat_template=chat_template)
    check_media_tokens(processor, family, model_config, folder / MODEL_CONFIG)
    quant = resolve_stored(config.quant, device, dtype, folder, trained)
    how = quantization(quant, family.vision_modules, dtype, model_config)
    empty = _build_on_meta(folder, model_config, family, trust=trust)
    model, report = _load_model(folder, empty, dtype, device, how, trust=trust)
    _check_report(report, family, folder)
    model.eval()
    model.requires_grad_(False)
    set_compute_dtype(model, dtype, stored=is_stored_quantized(model_config))
    install(model)
    gc.collect()
    return Backbone(model, processor, family, device, dtype, quant, str(folder))


def resolve_stored(
    asked: QuantChoice, device: torch.device, dtype: torch.dtype, folder: Path, trained: Precision
) -> Quant:
    """The quantization for a folder of model files; see `resolve_quant`.

    Raises:
        ModelError: the files are missing or damaged, or quantized in a way that is not read.
    """
    stored = stored_quant(read_json(folder / MODEL_CONFIG).get("quantization_config"))
    return resolve_quant(
        asked,
        device,
        dtype,
        n_parameters=count_parameters(folder),
        stored=stored,
        trained=trained.quant,
    )


def read_model_config(folder: Path, *, trust_remote_code: bool) -> tuple[Any, Family, bool]:
    """Read a model's configuration, and find out which family it is of.

    Returns:
        (transformers' configuration, the family, whether code of the model's repository may run).
    Raises:
        ModelError: it cannot be read, is an adapter's, or is of an architecture that is not read.
    """
    from transformers import AutoConfig

    where = folder / MODEL_CONFIG
    if (folder / ADAPTER_CONFIG).exists():  # transformers would load the adapter's base instead
        raise CheckpointError(
            "the base is an adapter itself, not a backbone",
            where=str(folder),
            hint="Make a whole model of it first (`yoj merge`).",
        )
    raw = read_json(where)
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise CheckpointError(f"model_type is {model_type!r}, which names no architecture", where=str(where))
    check_counts(raw, where)
    family = family_of(model_type)
    trust = trust_remote_code and model_type not in KNOWN
    with translate_load_errors("the backbone's configuration", where):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    if model_type not in KNOWN:
        _check_reads_text_only(model_type, config, where)
    return config, family, trust


def _check_reads_text_only(model_type: str, config: Any, where: Path) -> None:
    """Refuse an unknown architecture that reads pictures or sound: its encoders would get adapters, too."""
    from transformers.models.auto import modeling_auto

    sees = [key for key in MEDIA_KEYS if getattr(config, key, None) is not None]
    if sees or model_type in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise ModelError(
            f"the backbone ({model_type}) reads more than text{f' ({sees[0]})' if sees else ''}; "
            f"of those, yoj knows {' and '.join(KNOWN)}",
            where=str(where),
            hint="Use a Molmo2 or Qwen3-VL backbone, or a text-only decoder.",
        )


def _build_on_meta(folder: Path, config: Any, family: Family, *, trust: bool) -> Any:
    """The decoder that a configuration describes, without weights; refused where yoj cannot read with it."""
    from transformers import AutoModel

    with translate_load_errors("the backbone", folder), torch.device("meta"):
        empty = AutoModel.from_config(config, trust_remote_code=trust)
    if family.name not in KNOWN:
        check_decoder(empty, folder / MODEL_CONFIG)
    return empty


def _load_model(
    folder: Path,
    empty: Any,
    dtype: torch.dtype,
    device: torch.device,
    quantization_config: Any,
    *,
    trust: bool,
) -> tuple[Any, dict[str, Any]]:
    """The decoder and transformers' report of what found its place.

    On a CPU, weights that are quantized or cast while loading are read from their files one at a time. transformers
    would map the files (mmap), and mapped pages that were read count as this process's memory until the files are
    closed: at its peak the files and the model together, more than an unquantized model takes. Weights that stay as
    they are stored are mapped: they are read at first use, and never copied.

    Args:
        empty: the same decoder without weights.
    """
    from transformers import AutoModel

    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}, "attn_implementation": "sdpa"}
    options |= {"quantization_config": quantization_config, "output_loading_info": True}
    mapped = device.type != "cpu" or (quantization_config is None and is_stored_in(folder, dtype))
    weights = None if mapped else open_weights(folder)
    check_claims(empty, folder)
    with translate_load_errors("the backbone", folder), translate_oom(_no_memory_to_load):
        if mapped:
            loaded = AutoModel.from_pretrained(
                folder, config=empty.config, trust_remote_code=trust, use_safetensors=True, **options
            )
        else:
            loaded = type(empty).from_pretrained(None, config=empty.config, state_dict=weights, **options)
    return loaded[0], loaded[1]


@quietly()
def load_on_meta(
    folder: Path,
    config: JudgeConfig,
    *,
    processor_folder: Path | None = None,
    chat_template: str | None = None,
) -> Backbone:
    """The decoder on torch's meta device, with shapes and no weights: sequences are built for it, and none is scored.

    Args:
        processor_folder: tokenizer and processor files, where they are not the model's own.
        chat_template: takes the place of the processor's own, if any.
    Raises:
        ModelError: files that are missing or unreadable.
    """
    model_config, family, trust = read_model_config(folder, trust_remote_code=config.trust_remote_code)
    processor = load_processor(
        processor_folder or folder, family, trust_remote_code=trust, chat_template=chat_template
    )
    check_media_tokens(processor, family, model_config, folder / MODEL_CONFIG)
    model = _build_on_meta(folder, model_config, family, trust=trust)
    return Backbone(model, processor, family, torch.device("cpu"), torch.float32, where=str(folder))


def _check_report(report: dict[str, Any], family: Family, folder: Path) -> None:
    missing = sorted(report["missing_keys"])
    unexpected = sorted(key for key in report["unexpected_keys"] if not key.startswith(family.lm_head))
    for kind, keys in (("lacks", missing), ("has unknown", unexpected)):
        if keys:
            raise ModelError(
                f"the backbone {kind} {len(keys)} weights ({first_few(keys)})", where=str(folder)
            )


def _no_memory_to_load() -> OutOfMemoryError:
    return OutOfMemoryError(
        "out of memory while loading the backbone", hint="Use --quant 4bit, or free the GPU."
    )
