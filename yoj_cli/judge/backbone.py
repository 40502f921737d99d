"""The backbone: how it is loaded, and every quirk of a model family.

A family differs from another in four places, and only here: which modules are pictures (never quantized),
which tokens see each other in both directions, how positions count, and which inputs cannot be combined.
Everything else in `judge/` treats all families alike.
"""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from yoj_cli.config import JudgeConfig
from yoj_cli.errors import DeviceError, InputError, ModelError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoj_cli.inputs.records import Media


@dataclass(frozen=True)
class Family:
    """What is particular to one model architecture.

    Attributes:
        name: transformers' model_type.
        vision_modules: modules kept in the compute dtype when the rest is quantized.
        language_prefix: where the language model lives; adapters belong there and nowhere else.
        media_sees_itself: picture and frame tokens attend to each other in both directions.
        adds_bos: the sequence starts with the tokenizer's bos token although the template does not say so.
        mixes_media: pictures and clips may stand in one prompt.
        max_clips: clips allowed in one prompt; None for no limit.
    """

    name: str
    vision_modules: tuple[str, ...] = ()
    language_prefix: str = ""
    media_sees_itself: bool = False
    adds_bos: bool = False
    mixes_media: bool = False
    max_clips: int | None = 0

    @property
    def reads_media(self) -> bool:
        return bool(self.vision_modules)

    def check_media(self, media: Sequence[Media]) -> None:
        """Refuse what this family cannot read.

        Raises:
            InputError: pictures or clips in a combination or number the family has no layout for.
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


MOLMO2 = Family(
    "molmo2",
    vision_modules=("vision_tower", "multi_modal_projector"),
    language_prefix="language_model",
    media_sees_itself=True,
    adds_bos=True,
    max_clips=1,
)
QWEN3_VL = Family(
    "qwen3_vl", vision_modules=("visual",), language_prefix="language_model", mixes_media=True, max_clips=None
)


def family_of(model_type: str) -> Family:
    """The family of a transformers model_type; one we do not know is read as a plain text-only decoder."""
    return {MOLMO2.name: MOLMO2, QWEN3_VL.name: QWEN3_VL}.get(model_type, Family(model_type))


@dataclass(frozen=True)
class Backbone:
    """A loaded decoder without its LM head, and what turns groups into its inputs.

    Attributes:
        model: transformers module whose `last_hidden_state` (1, T, H) the head reads.
        processor: the family's processor, or a bare tokenizer for text-only families.
    """

    model: nn.Module
    processor: Any
    family: Family
    device: torch.device
    dtype: torch.dtype

    @property
    def tokenizer(self) -> Any:
        return getattr(self.processor, "tokenizer", self.processor)

    @property
    def hidden_size(self) -> int:
        return int(self.text_config.hidden_size)

    @property
    def context(self) -> int:
        """Tokens the backbone's positions reach."""
        return int(self.text_config.max_position_embeddings)

    @property
    def text_config(self) -> Any:
        return self.model.config.get_text_config()  # type: ignore[operator,union-attr]

    def positions(self, input_ids: Tensor, media_types: Tensor, media_inputs: dict[str, Tensor]) -> Tensor:
        """Position ids of a plain, unbranched sequence.

        Args:
            input_ids: (1, T) int64.
            media_types: (1, T) 0 = text, 1 = picture token, 2 = clip token (as the processor numbers them).
            media_inputs: what the picture and clip processors returned.
        Returns:
            (1, T) int64, or (3, 1, T) time, height and width for Qwen3-VL (mRoPE).
        """
        if self.family is not QWEN3_VL:
            return torch.arange(input_ids.shape[1]).unsqueeze(0)
        positions, _ = self.model.get_rope_index(  # type: ignore[operator]
            input_ids,
            media_types,
            image_grid_thw=media_inputs.get("image_grid_thw"),
            video_grid_thw=media_inputs.get("video_grid_thw"),
        )
        return torch.as_tensor(positions)


WAYS_OUT = "Try `--model demo` (runs anywhere, judges drawn scenes only) or `--device cpu` (slow)."


def resolve_device(config: JudgeConfig, *, embedded: bool, ways_out: str = WAYS_OUT) -> torch.device:
    """The device to run on; a CPU only where it was asked for or the judge is the embedded one.

    Args:
        ways_out: what the error advises where there is no GPU.
    Raises:
        DeviceError: no such device, with what to do instead.
    """
    if config.device == "cpu" or (config.device == "auto" and embedded and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError(
            f"no CUDA GPU was found, and {config.model} wants one (a 4B backbone takes about 4 GB in 4-bit)",
            hint=ways_out,
        )
    device = torch.device("cuda" if config.device == "auto" else config.device)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no GPU {device.index}; {torch.cuda.device_count()} found", where="--device"
        )
    return device


def resolve_dtype(config: JudgeConfig, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        return {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}[config.dtype]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def load_backbone(
    folder: Path, config: JudgeConfig, device: torch.device, *, processor_folder: Path
) -> Backbone:
    """Load the decoder, quantized as asked, with every weight accounted for.

    Args:
        folder: transformers model files.
        processor_folder: tokenizer and processor files; the checkpoint's own, which know the separator.
    Raises:
        ModelError: files that are missing, unreadable or do not fill the architecture.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer

    quiet_libraries()
    dtype = resolve_dtype(config, device)
    try:
        model_config = AutoConfig.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
        family = family_of(model_config.model_type)
        # Known families always run transformers' own code; the flag can only concern the others.
        trust = config.trust_remote_code and not family.reads_media
        loader = AutoProcessor if family.reads_media else AutoTokenizer
        processor = loader.from_pretrained(processor_folder, trust_remote_code=trust)
        model, report = AutoModel.from_pretrained(
            folder,
            config=model_config,
            dtype=dtype,
            device_map={"": device},
            attn_implementation="sdpa",
            quantization_config=_quantization(config, family, dtype, model_config),
            output_loading_info=True,
            trust_remote_code=trust,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        _raise_if_out_of_memory(error, "loading the backbone")
        raise ModelError(f"the backbone cannot be loaded: {_first_line(error)}", where=str(folder)) from error
    _check_report(report, folder)
    if family is MOLMO2:
        _normalize_clips(processor)
    model.eval()
    model.requires_grad_(False)
    _compute_as_asked(model, dtype)
    gc.collect()
    return Backbone(model, processor, family, device, dtype)


def _quantization(config: JudgeConfig, family: Family, dtype: torch.dtype, model_config: Any) -> Any:
    """How to quantize the language model; the vision tower stays in the compute dtype.

    Its 588- and 4304-wide rows are no multiple of the 64-wide NF4 blocks, and 0.4 B parameters save little.
    """
    if getattr(model_config, "quantization_config", None) is not None:
        return None  # stored quantized: transformers reads how from the config itself
    if config.quant == "none":
        return None
    from transformers import BitsAndBytesConfig

    skip = list(family.vision_modules)
    if config.quant == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=skip
    )


def _normalize_clips(processor: Any) -> None:
    """Have Molmo2's clip frames scaled and normalized like its pictures, where the files do not say.

    The code that the weights were made with does so by default; transformers' own leaves both unset, and the
    vision tower would see values up to 255 where it was trained on -1 to 1.
    """
    for name in ("do_rescale", "do_normalize"):
        if getattr(processor.video_processor, name, None) is None:
            setattr(processor.video_processor, name, True)


def _compute_as_asked(model: nn.Module, dtype: torch.dtype) -> None:
    """Stop bitsandbytes from computing in bfloat16 on CPUs that have it when another type was asked for.

    Its packed kernel rounds activations to 8 bits of mantissa whatever the compute type: scores would then
    differ in the third digit between a response judged alone and the same one judged beside others.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu") and dtype != torch.bfloat16:
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _check_report(report: dict[str, Any], folder: Path) -> None:
    missing = sorted(report["missing_keys"])
    unexpected = sorted(key for key in report["unexpected_keys"] if not key.startswith("lm_head"))
    for kind, keys in (("lacks", missing), ("has unknown", unexpected)):
        if keys:
            shown = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
            raise ModelError(f"the backbone {kind} {len(keys)} weights ({shown})", where=str(folder))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _raise_if_out_of_memory(error: BaseException, doing: str) -> None:
    if isinstance(error, torch.OutOfMemoryError):
        raise OutOfMemoryError(
            f"out of GPU memory while {doing}", hint="Use --quant 4bit, or free the GPU."
        ) from error


def quiet_libraries() -> None:
    """Keep the libraries' progress bars and load reports off the screen; our own checks replace them."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
