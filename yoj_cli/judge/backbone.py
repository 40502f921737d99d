"""The backbone: how it is loaded, with every weight accounted for."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.config import JudgeConfig
from yoj_cli.errors import DeviceError, ModelError, OutOfMemoryError
from yoj_cli.judge.attention import install
from yoj_cli.judge.family import Family, family_of
from yoj_cli.judge.quantization import compute_as_asked, is_stored_quantized, quantization

# It warns when it is imported, by whatever library, of a kernel that it does well without on a CPU.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


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
    def n_layers(self) -> int:
        return int(self.text_config.num_hidden_layers)

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
        return self.family.positions(self.model, input_ids, media_types, media_inputs)


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
        family, stored = family_of(model_config.model_type), is_stored_quantized(model_config)
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
            quantization_config=quantization(config, family.vision_modules, dtype, model_config),
            output_loading_info=True,
            trust_remote_code=trust,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        _raise_if_out_of_memory(error, "loading the backbone")
        raise ModelError(f"the backbone cannot be loaded: {_first_line(error)}", where=str(folder)) from error
    _check_report(report, folder)
    family.mend_processor(processor)
    model.eval()
    model.requires_grad_(False)
    compute_as_asked(model, dtype, stored=stored)
    install(model)
    gc.collect()
    return Backbone(model, processor, family, device, dtype)


def load_skeleton(folder: Path, config: JudgeConfig, *, processor_folder: Path | None = None) -> Backbone:
    """The decoder's shape without its weights (on torch's meta device): it lays groups out, and scores nothing.

    Args:
        processor_folder: tokenizer and processor files, where they are not the model's own.
    Raises:
        ModelError: files that are missing or unreadable.
    """
    from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer

    quiet_libraries()
    try:
        model_config = AutoConfig.from_pretrained(folder)
        family = family_of(model_config.model_type)
        loader = AutoProcessor if family.reads_media else AutoTokenizer
        processor = loader.from_pretrained(processor_folder or folder)
        with torch.device("meta"):
            model = AutoModel.from_config(model_config)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ModelError(f"the backbone cannot be read: {_first_line(error)}", where=str(folder)) from error
    family.mend_processor(processor)
    return Backbone(model, processor, family, torch.device("cpu"), torch.float32)


def _check_report(report: dict[str, Any], folder: Path) -> None:
    missing = sorted(report["missing_keys"])
    unexpected = sorted(key for key in report["unexpected_keys"] if not key.startswith("lm_head"))
    for kind, keys in (("lacks", missing), ("has unknown", unexpected)):
        if keys:
            shown = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
            raise ModelError(f"the backbone {kind} {len(keys)} weights ({shown})", where=str(folder))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused; torch has a type of error for a GPU that does, and none for a CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("DefaultCPUAllocator", "CUDA error: out of memory"))
    )


@contextmanager
def name_device_errors(build: Callable[[], OutOfMemoryError]) -> Iterator[None]:
    """Turn the device's refusal of memory into an error that says what it was for, and its end into a DeviceError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise build() from error
        if "CUDA error" in str(error):  # from here on every call fails
            raise DeviceError(
                f"the GPU stopped working: {_first_line(error)}",
                hint="Start again; `dmesg` and `nvidia-smi` may say why.",
            ) from error
        raise


def _raise_if_out_of_memory(error: BaseException, doing: str) -> None:
    if is_out_of_memory(error):
        raise OutOfMemoryError(
            f"out of memory while {doing}", hint="Use --quant 4bit, or free the GPU."
        ) from error


def quiet_libraries() -> None:
    """Keep the libraries' progress bars and load reports off the screen; our own checks replace them."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
