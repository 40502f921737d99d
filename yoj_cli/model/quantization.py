"""Quantization: of weights while they are loaded, or as a folder stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from yoj_cli.config.judge import Quant
from yoj_cli.errors import ModelError, UsageError


def quantization(quant: Quant, vision_modules: Sequence[str], dtype: torch.dtype, model_config: Any) -> Any:
    """How transformers is to quantize the language model; None where there is nothing to do.

    The vision tower stays in the compute dtype: its rows of 588 and 4304 numbers are no multiple of NF4's blocks of
    64, and its 0.4 B parameters would save little.

    Args:
        quant: as resolved by `resolve_quant`.
        vision_modules: modules that are not quantized.
        dtype: to compute in; weights that are stored quantized are dequantized to it, too.
        model_config: transformers' configuration of the model.
    Raises:
        UsageError: the weights are stored otherwise than asked for.
        ModelError: they are stored in a way that is not read.
    """
    stored = stored_quant(getattr(model_config, "quantization_config", None))
    if stored:
        _check_stored(stored, quant)
        model_config.quantization_config["bnb_4bit_compute_dtype"] = str(dtype).removeprefix("torch.")
        return None
    if quant == "none":
        return None
    from transformers import BitsAndBytesConfig

    skip = list(vision_modules)
    if quant == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=skip
    )


def is_stored_quantized(model_config: Any) -> bool:
    """Whether a model's files hold quantized weights; its configuration says so."""
    return getattr(model_config, "quantization_config", None) is not None


def stored_quant(stored: Any) -> Quant | None:
    """How a model's files are quantized; None where they are not.

    Args:
        stored: "quantization_config" of the model's configuration.
    Raises:
        ModelError: in a way that is not read.
    """
    if stored is None:
        return None
    method = stored.get("quant_method") if isinstance(stored, dict) else stored
    if method != "bitsandbytes":
        raise ModelError(f"the backbone is stored quantized by {method}; only bitsandbytes is read")
    return "8bit" if stored.get("load_in_8bit") else "4bit"


def _check_stored(stored: Quant, asked: Quant) -> None:
    """Refuse to dequantize stored weights, or to quantize them a second time: both lose precision unnoticed."""
    if asked != stored:
        raise UsageError(
            f"the backbone is stored in {stored}, {asked} cannot be had from it",
            where="--quant",
            hint=f"Use --quant {stored}, or the checkpoint that this one was quantized from.",
        )


def set_compute_dtype(model: nn.Module, dtype: torch.dtype, *, stored: bool) -> None:
    """Have quantized layers compute in a dtype, whatever the CPU prefers or a stored model says.

    On CPUs with bfloat16 arithmetic, bitsandbytes uses it whatever the compute dtype: its packed kernel rounds
    activations to 8 bits of mantissa, and the score of a response would differ in the third digit between one judged
    alone and one judged in a batch.

    Args:
        stored: the weights were stored quantized. Their files say which dtype they are dequantized to, and
            transformers leaves all other weights in the dtype of the file.
    Raises:
        ModelError: the scales of stored weights are missing, which transformers does not notice.
    """
    for name, module in model.named_modules():
        if hasattr(module, "support_avx512bf16_for_cpu") and dtype != torch.bfloat16:
            module.support_avx512bf16_for_cpu = False
        if stored and hasattr(module, "quant_state"):
            if module.quant_state is None:
                raise ModelError(f"the backbone lacks the scales of the 4-bit weights of {name}")
            module.quant_state.dtype = dtype
    for weight in model.parameters() if stored else ():
        if weight.is_floating_point() and not hasattr(weight, "quant_state"):
            weight.data = weight.data.to(dtype)
