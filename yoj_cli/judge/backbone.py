"""The backbone: how it is loaded, with every weight accounted for."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.config import JudgeConfig, Quant, QuantChoice
from yoj_cli.errors import DeviceError, ModelError, OutOfMemoryError
from yoj_cli.judge.attention import install
from yoj_cli.judge.device import UNSTATED, Precision, resolve_dtype, resolve_quant
from yoj_cli.judge.family import Family
from yoj_cli.judge.files import first_line, name_load_errors, read_json
from yoj_cli.judge.host import quietly
from yoj_cli.judge.pretrained import load_processor, read_model_config
from yoj_cli.judge.quantization import compute_as_asked, is_stored_quantized, quantization, stored_quant
from yoj_cli.judge.weights import count_parameters, is_stored_in, open_weights


@dataclass(frozen=True)
class Backbone:
    """A loaded decoder without its LM head, and what turns groups into its inputs.

    Attributes:
        model: transformers module whose `last_hidden_state` (1, T, H) the head reads.
        processor: the family's processor, or a bare tokenizer for text-only families.
        dtype, quant: what is computed in and how the weights are held, as resolved.
    """

    model: nn.Module
    processor: Any
    family: Family
    device: torch.device
    dtype: torch.dtype
    quant: Quant = "none"

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
    def n_rows(self) -> int:
        """Rows of the input embedding: token ids from here on have none."""
        return int(self.model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]

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


@quietly()
def load_backbone(
    folder: Path,
    config: JudgeConfig,
    device: torch.device,
    *,
    processor_folder: Path,
    trained: Precision = UNSTATED,
) -> Backbone:
    """Load the decoder, quantized as asked, with every weight accounted for.

    Args:
        folder: transformers model files.
        processor_folder: tokenizer and processor files; the checkpoint's own, which know the separator.
        trained: what `auto` stands for, where the checkpoint says so.
    Raises:
        ModelError: files that are missing, unreadable or do not fill the architecture.
    """
    dtype = resolve_dtype(config.dtype, device, trained.dtype)
    model_config, family, trust = read_model_config(folder, trust_remote_code=config.trust_remote_code)
    processor = load_processor(processor_folder, family, trust_remote_code=trust)
    quant = resolve_stored(config.quant, device, dtype, folder, trained)
    how = quantization(quant, family.vision_modules, dtype, model_config)
    model, report = _load_model(folder, model_config, dtype, device, how, trust=trust)
    _check_report(report, folder)
    family.mend_processor(processor)
    model.eval()
    model.requires_grad_(False)
    compute_as_asked(model, dtype, stored=is_stored_quantized(model_config))
    install(model)
    gc.collect()
    return Backbone(model, processor, family, device, dtype, quant)


def resolve_stored(
    asked: QuantChoice, device: torch.device, dtype: torch.dtype, folder: Path, trained: Precision
) -> Quant:
    """What `--quant` comes to for a folder of model files; see `resolve_quant`.

    Raises:
        ModelError: the files are missing or damaged, or quantized in a way that is not read.
    """
    stored = stored_quant(read_json(folder / "config.json").get("quantization_config"))
    return resolve_quant(
        asked,
        device,
        dtype,
        n_parameters=count_parameters(folder),
        stored=stored,
        trained=trained.quant,
    )


def _load_model(
    folder: Path,
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    quantization_config: Any,
    *,
    trust: bool,
) -> tuple[Any, dict[str, Any]]:
    """The decoder and transformers' report of what found its place.

    On a CPU, weights that are quantized or cast while loading are read from their files one at a time. transformers
    would map the files, and a mapped page that was read counts as this process's until the last file is closed: the
    peak would be the files and the model, more than loading them unquantized takes. Weights that stay as they are
    stored are mapped: they are read when they are first used, and never copied.
    """
    from transformers import AutoModel

    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}, "attn_implementation": "sdpa"}
    options |= {"quantization_config": quantization_config, "output_loading_info": True}
    mapped = device.type != "cpu" or (quantization_config is None and is_stored_in(folder, dtype))
    weights = None if mapped else open_weights(folder)
    with name_load_errors("the backbone", folder), name_device_errors(_no_memory_to_load):
        if mapped:
            loaded = AutoModel.from_pretrained(
                folder, config=config, trust_remote_code=trust, use_safetensors=True, **options
            )
        else:
            with torch.device("meta"):
                empty = AutoModel.from_config(config, trust_remote_code=trust)
            loaded = type(empty).from_pretrained(None, config=empty.config, state_dict=weights, **options)
    return loaded[0], loaded[1]


@quietly()
def load_skeleton(folder: Path, config: JudgeConfig, *, processor_folder: Path | None = None) -> Backbone:
    """The decoder's shape without its weights (on torch's meta device): it lays groups out, and scores nothing.

    Args:
        processor_folder: tokenizer and processor files, where they are not the model's own.
    Raises:
        ModelError: files that are missing or unreadable.
    """
    from transformers import AutoModel

    model_config, family, trust = read_model_config(folder, trust_remote_code=config.trust_remote_code)
    processor = load_processor(processor_folder or folder, family, trust_remote_code=trust)
    with name_load_errors("the backbone", folder), torch.device("meta"):
        model = AutoModel.from_config(model_config, attn_implementation="sdpa", trust_remote_code=trust)
    family.mend_processor(processor)
    return Backbone(model, processor, family, torch.device("cpu"), torch.float32)


def _check_report(report: dict[str, Any], folder: Path) -> None:
    missing = sorted(report["missing_keys"])
    unexpected = sorted(key for key in report["unexpected_keys"] if not key.startswith("lm_head"))
    for kind, keys in (("lacks", missing), ("has unknown", unexpected)):
        if keys:
            shown = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
            raise ModelError(f"the backbone {kind} {len(keys)} weights ({shown})", where=str(folder))


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
                f"the GPU stopped working: {first_line(error)}",
                hint="Start again; `dmesg` and `nvidia-smi` may say why.",
            ) from error
        raise


def _no_memory_to_load() -> OutOfMemoryError:
    return OutOfMemoryError(
        "out of memory while loading the backbone", hint="Use --quant 4bit, or free the GPU."
    )
