"""The LoRA adapter: put on, saved, and loaded so that no weight is silently left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from yoj_cli.errors import CheckpointError
from yoj_cli.judge.backbone import Backbone
from yoj_cli.judge.files import read_weights

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def add_adapter(backbone: Backbone, *, r: int, alpha: int, dropout: float) -> LoraConfig:
    """Put a fresh LoRA on every linear layer of the language model, and on nothing else.

    Bare layer names would also hit the vision tower, hence a pattern anchored on the language model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    prefix = backbone.family.language_prefix
    names = {
        name.rsplit(".", 1)[-1]
        for name, module in backbone.model.named_modules()
        if name.startswith(prefix) and isinstance(module, torch.nn.Linear)
    }
    anchored = rf"(.*\.)?{re.escape(prefix)}\..*" if prefix else r".*"
    adapter = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=rf"{anchored}\.({'|'.join(sorted(names))})",
    )
    inject_adapter_in_model(adapter, backbone.model)
    for module in backbone.model.modules():
        # Only the adapter's dropout trains: the frozen model stays in evaluation mode.
        if isinstance(module, torch.nn.Dropout):
            module.train()
    return adapter


def save_adapter(folder: Path, backbone: Backbone, adapter: LoraConfig, base_model: str) -> None:
    """Write the adapter in PEFT's format."""
    from safetensors.torch import save_file

    weights = {
        f"base_model.model.{name.replace('.default.', '.')}": weight.detach().cpu().contiguous()
        for name, weight in adapter_weights(backbone.model).items()
    }
    adapter.base_model_name_or_path = base_model
    adapter.save_pretrained(str(folder))
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def load_adapter(backbone: Backbone, folder: Path) -> None:
    """Put a saved LoRA onto the backbone; every key must find its place.

    PEFT only warns when nothing matches (an adapter saved from `…ForConditionalGeneration` has one more
    "model." in every key than the decoder alone), and would then score with untrained weights.

    Raises:
        CheckpointError: no LoRA, or keys that are missing, unknown or misshapen.
    """
    from peft import LoraConfig, PeftConfig, inject_adapter_in_model

    where = str(folder / ADAPTER_WEIGHTS)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise CheckpointError(
            "the adapter's weights are missing", where=where, hint="Pickled adapters are not read."
        )
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise CheckpointError(
            f"the adapter is {config.peft_type}, only LoRA is read", where=str(folder / ADAPTER_CONFIG)
        )
    state = {
        _native_key(key, backbone): weight for key, weight in read_weights(folder / ADAPTER_WEIGHTS).items()
    }
    modules = {key.split(".lora_")[0] for key in state}
    _check_adapter_modules(modules, config, backbone, where)
    config.target_modules = modules
    inject_adapter_in_model(config, backbone.model)
    weights = {
        name.replace(".default.", "."): weight for name, weight in adapter_weights(backbone.model).items()
    }
    for kind, keys in (("lacks", set(weights) - set(state)), ("has unknown", set(state) - set(weights))):
        if keys:
            raise CheckpointError(f"the adapter {kind} {len(keys)} weights ({_some(keys)})", where=where)
    for name, weight in weights.items():
        if weight.shape != state[name].shape:
            raise CheckpointError(
                f"{name} is {tuple(state[name].shape)} in the file and {tuple(weight.shape)} in the model",
                where=where,
            )
        weight.data = state[name].to(backbone.device, backbone.dtype)
    backbone.model.requires_grad_(False)
    backbone.model.eval()  # injected layers start in training mode, with their dropout on


def adapter_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """The LoRA matrices of a model, by parameter name."""
    return {name: weight for name, weight in model.named_parameters() if ".lora_" in name}


def _native_key(key: str, backbone: Backbone) -> str:
    """A saved adapter key as the decoder names the same weight."""
    name = key.removeprefix("base_model.model.")
    inner = name.removeprefix("model.")
    prefix = backbone.family.language_prefix
    return inner if not prefix or inner.startswith(prefix) else name


def _check_adapter_modules(found: set[str], config: LoraConfig, backbone: Backbone, where: str) -> None:
    """The file must adapt every language layer its own configuration names, and nothing unknown."""
    from peft.tuners.tuners_utils import check_target_module_exists

    modules = {name for name, module in backbone.model.named_modules() if isinstance(module, torch.nn.Linear)}
    unknown = found - modules
    if unknown:
        raise CheckpointError(
            f"the adapter is for another backbone: {len(unknown)} modules are not here ({_some(unknown)})",
            where=where,
        )
    wanted = {
        name
        for name in modules
        if name.startswith(backbone.family.language_prefix)
        and any(check_target_module_exists(config, key) for key in (name, f"model.{name}"))
    }
    if wanted - found:
        raise CheckpointError(
            f"the adapter lacks weights for {len(wanted - found)} modules ({_some(wanted - found)})",
            where=where,
        )


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:3]
    return ", ".join(shown) + (" …" if len(keys) > 3 else "")
