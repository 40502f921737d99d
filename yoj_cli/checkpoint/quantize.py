"""Storing a judge's weights in 4-bit, so that loading reads 3 GB instead of 9.

Only the base's language model is quantized; an adapter stays unquantized, as at scoring. So scores are equal to those
of the original with `--quant 4bit`, to the last bit, on the kind of device it was quantized on.
"""

from __future__ import annotations

import gc
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from yoj_cli.checkpoint.read import Checkpoint, find_base, find_processor, load_checkpoint, read_checkpoint
from yoj_cli.checkpoint.save import copy_processor
from yoj_cli.config.judge import Dtype, JudgeConfig
from yoj_cli.errors import CheckpointError
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.precision import dtype_name
from yoj_cli.storage.files import check_new_folder, copy_file, new_folder, read_json, write_json
from yoj_cli.storage.names import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    HEAD_PICKLED,
    HEAD_SAFE,
    MODEL_CONFIG,
    REWARD_CONFIG,
)
from yoj_cli.storage.weights import Planned, Stored, find_weights, write_weights

BACKBONE = "backbone"


@dataclass(frozen=True)
class Quantized:
    """What quantizing gained. Both times are those of a whole judge, read from the disk and not from the page cache.

    Attributes:
        n_bytes_before, n_bytes_after: size of the backbone's weights.
        load_before_s, load_after_s: time to load the judge in 4-bit.
    """

    n_bytes_before: int
    n_bytes_after: int
    load_before_s: float
    load_after_s: float


def quantize(config: JudgeConfig, out: Path) -> Quantized:
    """Load a judge in 4-bit, and write it so that it need not be quantized again.

    An adapter checkpoint gives one whose base is the folder "backbone" inside; a merged one gives a merged one.
    The result is loaded once before it takes its name.

    Args:
        config: the checkpoint, its revision and the device; `dtype` is the type of the weights that are not quantized,
            auto that of the base's files. Scores are equal in this type and in wider ones (bfloat16 weights
            computed in float32).
        out: the new folder.
    Raises:
        UsageError: there is something in `out`, or no room for it.
        CheckpointError: the backbone is quantized already, or not stored in a type that can be.
        ModelError, DeviceError: the checkpoint cannot be loaded.
    """
    check_new_folder(out)
    config = replace(config.resolved(), quant="4bit")
    checkpoint = read_checkpoint(config)
    base = find_base(checkpoint)
    if read_json(base / MODEL_CONFIG).get("quantization_config"):
        raise CheckpointError("the backbone is stored quantized already", where=str(base))
    stored = find_weights(base)
    if config.dtype == "auto":
        config = replace(config, dtype=_main_dtype(stored))
    for library in ("transformers", "peft", "bitsandbytes"):
        importlib.import_module(library)  # loading is timed, importing is not
    times_s: list[float] = []
    with _timed(base, times_s):
        backbone, head, checkpoint = load_checkpoint(config)
    with new_folder(out) as folder:
        inner = folder if checkpoint.base_model is None else folder / BACKBONE
        inner.mkdir(exist_ok=True)
        n_bytes = _write_backbone(inner, backbone)
        _copy_rest(checkpoint, find_processor(checkpoint, base), folder)
        config = replace(config, model=str(folder), revision=None, device=str(backbone.device))
        del backbone, head
        gc.collect()
        with _timed(inner, times_s):
            load_checkpoint(config)
    return Quantized(sum(weight.n_bytes for weight in stored.values()), n_bytes, *times_s)


def _main_dtype(stored: dict[str, Stored]) -> Dtype:
    """The type that most of the weights have, as `--dtype` names it."""
    sizes: dict[Dtype, int] = {}
    for weight in stored.values():
        name = dtype_name(weight.torch_dtype)
        sizes[name] = sizes.get(name, 0) + weight.n_bytes
    return max(sizes, key=lambda name: sizes[name])


@contextmanager
def _timed(folder: Path, times_s: list[float]) -> Iterator[None]:
    """Time the loading of a folder's files, from the disk: one of two models has just been written."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.fsync(file.fileno())  # only what is on the disk leaves the cache
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.perf_counter()
    yield
    times_s.append(time.perf_counter() - started)


def _write_backbone(folder: Path, backbone: Backbone) -> int:
    """Write the weights under the decoder's own names: 4-bit rows cannot be joined or split as released.

    Returns the bytes.
    """
    weights = [Planned(name, weight.nbytes, weight.cpu) for name, weight in _base_weights(backbone.model)]
    n_bytes = write_weights(folder, weights)
    backbone.model.config.save_pretrained(str(folder))  # type: ignore[operator,union-attr]
    content = read_json(folder / MODEL_CONFIG)
    content.pop("auto_map", None)  # no code but transformers' own reads these weights
    write_json(folder / MODEL_CONFIG, content)
    return n_bytes


def _base_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model without its adapter's, under the names that they have without it."""
    for name, weight in model.state_dict().items():
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), weight


def _copy_rest(checkpoint: Checkpoint, processor: Path, folder: Path) -> None:
    """Everything beside the backbone, which an adapter checkpoint now finds inside its own folder."""
    copy_processor(processor, folder)
    for name in (HEAD_SAFE, HEAD_PICKLED, ADAPTER_WEIGHTS, REWARD_CONFIG):
        if (checkpoint.folder / name).is_file():
            copy_file(checkpoint.folder / name, folder)
    if checkpoint.base_model is not None:
        copy_processor(processor, folder / BACKBONE)
        reward = read_json(folder / REWARD_CONFIG) | {"base_model": BACKBONE}
        reward.pop("base_revision", None)
        write_json(folder / REWARD_CONFIG, reward)
        adapter = read_json(checkpoint.folder / ADAPTER_CONFIG) | {"base_model_name_or_path": BACKBONE}
        write_json(folder / ADAPTER_CONFIG, adapter | {"revision": None})
