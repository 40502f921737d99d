"""Precision: the dtype that a judge computes in, the quantization of its weights, and what `auto` means for both."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from yoj_cli.config.judge import Dtype, Quant, QuantChoice
from yoj_cli.model.device import available_bytes

MEMORY_MARGIN = 1.5
"""On a CPU, `auto` leaves weights unquantized if this many times their size is available: there are also the libraries,
a group's activations (8.9 GB of weights peaked at 11.1 GB with a group of 1,664 tokens) and other processes."""

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Precision:
    """What a checkpoint was trained in, where it says so; `auto` then means the same."""

    quant: Quant | None = None
    dtype: Dtype | None = None


UNSTATED = Precision()


def resolve_dtype(asked: Dtype, device: torch.device, trained: Dtype | None = None) -> torch.dtype:
    """The dtype to compute in: the one given, else the one trained in, else the fastest that has enough range.

    A type that the device has no arithmetic for is never taken unasked.
    """
    if asked != "auto":
        return DTYPES[asked]
    native = [torch.float32]
    if device.type == "cpu":
        native += [torch.bfloat16] if has_native_bfloat16() else []
    else:
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        native += [torch.float16, torch.bfloat16] if has_bfloat16 else [torch.float16]
    wanted = DTYPES.get(trained or "auto", native[-1])
    return wanted if wanted in native else native[-1]


def dtype_name(dtype: torch.dtype) -> Dtype:
    """The name that `--dtype` has for a dtype."""
    names: dict[torch.dtype, Dtype] = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
    return names.get(dtype, "float32")


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices itself (AVX-512 BF16 or AMX); emulation is slower than float32."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    # Before torch had a public name for it.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def resolve_quant(
    asked: QuantChoice,
    device: torch.device,
    dtype: torch.dtype,
    *,
    n_parameters: int,
    stored: Quant | None = None,
    trained: Quant | None = None,
) -> Quant:
    """The quantization: the one given, else the one stored, else the one trained in, else the device's default.

    That is 4-bit on a GPU, to save its memory, and none on a CPU, where 4-bit costs time, unless the unquantized
    weights do not fit into memory.

    Args:
        dtype: what is computed in.
        n_parameters: of the backbone.
        stored: how its files are quantized.
    """
    if asked != "auto":
        return asked
    wanted: Quant = stored or trained or ("none" if device.type == "cpu" else "4bit")
    if stored or wanted != "none" or device.type != "cpu":
        return wanted
    needed = MEMORY_MARGIN * n_parameters * dtype.itemsize
    return "none" if needed <= available_bytes() else "4bit"
