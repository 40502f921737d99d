"""The LoRA adapter in memory: put onto a backbone, and loaded so that no weight is silently left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from yoj_cli.errors import CheckpointError, first_few
from yoj_cli.model.adapter_layers import (
    ALL_LAYERS,
    adapted_layers,
    language_linears,
    native_state,
    pattern_of,
    saved_key,
    saved_layer,
    target_names,
)
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.fused import fused_weights, is_tied, tie_fused
from yoj_cli.model.patterns import named_layers, values_by_layer
from yoj_cli.storage.files import translate_load_errors
from yoj_cli.storage.names import ADAPTER_CONFIG, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from peft import LoraConfig  # slow to import


def add_adapter(
    backbone: Backbone, *, r: int, alpha: int, dropout: float, tied: bool, targets: str = ALL_LAYERS
) -> LoraConfig:
    """Put a fresh LoRA on linear layers of the language model, and on nothing else.

    Bare layer names would also hit the vision tower, hence a pattern anchored on the language model.

    Args:
        tied: the parts of a layer that the family's release fuses share one A; see `fused`.
        targets: "all", or the last names of layers with commas between them, the decoder's or the release's.
    Raises:
        UsageError: a target that the language model has not.
    """
    from peft import LoraConfig

    adapter = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=pattern_of(backbone, target_names(backbone, targets)),
    )
    _inject(adapter, backbone)
    if tied:
        tie_fused(backbone)
    for weight in adapter_weights(backbone.model).values():
        weight.data = weight.data.float()  # the optimizer's small steps would be lost in half precision
    backbone.model.eval()  # injected layers start in training mode
    return adapter


def _inject(config: LoraConfig, backbone: Backbone, *, low_cpu_mem_usage: bool = False) -> None:
    """Put a LoRA on the layers that its configuration names, and on nothing else.

    Where PEFT knows an architecture to be a mixture of experts, it takes the names of linear layers (of shared experts
    and of layers without any) for the experts', whose weights are no layers: it adapts those instead. It looks at the
    model_type, which it is shown none of.
    """
    from peft import inject_adapter_in_model

    own = backbone.model.config
    own.model_type = "custom"  # type: ignore[union-attr]
    try:
        inject_adapter_in_model(config, backbone.model, low_cpu_mem_usage=low_cpu_mem_usage)
    finally:
        del own.model_type  # type: ignore[union-attr]


def load_adapter(backbone: Backbone, config: LoraConfig, saved: dict[str, Tensor], *, folder: Path) -> None:
    """Put a saved LoRA onto the backbone; every key must find its place.

    PEFT only warns when nothing matches (an adapter saved from `…ForConditionalGeneration` has one more
    "model." in every key than the decoder alone), and would then score with untrained weights.

    An adapter of the released code adapts layers that the decoder divides (Molmo2's `att_proj` is its query, key and
    value): each part shares the layer's A and takes its own rows of B, which gives the same product.

    Args:
        backbone: what the adapter is put on; of one on the meta device, only the adapter has weights then.
        config: the adapter's own, whose names of layers become the decoder's.
        saved: its weights, A (r, in) and B (out, r), under the names of PEFT's format.
        folder: where both were read, for errors.
    Raises:
        CheckpointError: keys that are missing, unknown or misshapen.
    """
    where, config_file = str(folder / ADAPTER_WEIGHTS), str(folder / ADAPTER_CONFIG)
    layers, state = _place(backbone, config, saved, folder)
    # From here on the layers have names: no pattern of the file's is left for PEFT to run.
    config.target_modules = set(layers)
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    config.rank_pattern = values_by_layer(config.rank_pattern, layers, where=config_file)
    config.alpha_pattern = values_by_layer(config.alpha_pattern, layers, where=config_file)
    _check_matrices(state, layers, config, backbone, where)
    with translate_load_errors("the adapter", folder / ADAPTER_CONFIG):
        _inject(config, backbone, low_cpu_mem_usage=True)
    wanted = adapter_weights(backbone.model)
    names = {name.replace(".default.", "."): name for name in wanted}
    for kind, keys in (("lacks", set(names) - set(state)), ("has unknown", set(state) - set(names))):
        if keys:
            raise CheckpointError(
                f"the adapter {kind} {len(keys)} weights ({first_few(sorted(keys))})", where=where
            )
    for key, name in names.items():
        _check_shape(key, state[key], tuple(wanted[name].shape), where)
        layer, _, weight = name.rpartition(".")
        # Copied: the parts of a layer share one A in the file.
        loaded = state[key].to(backbone.device, backbone.dtype, copy=True)
        setattr(backbone.model.get_submodule(layer), weight, torch.nn.Parameter(loaded))
    backbone.model.requires_grad_(False)
    backbone.model.eval()  # injected layers start in training mode, with their dropout on


def check_adapter(backbone: Backbone, config: LoraConfig, saved: dict[str, Tensor], *, folder: Path) -> None:
    """See that a saved adapter fits the backbone and its own configuration, before memory is taken for it.

    Args:
        config: the adapter's own, with one rank for all layers.
        saved: as in `load_adapter`; on the meta device will do.
    Raises:
        CheckpointError: as there.
    """
    layers, state = _place(backbone, config, saved, folder)
    _check_matrices(state, layers, config, backbone, str(folder / ADAPTER_WEIGHTS))


def saved_adapter(backbone: Backbone, adapter: LoraConfig) -> tuple[LoraConfig, dict[str, Tensor]]:
    """An adapter as its files hold it: a tied one as the official trainer writes it, any other by the decoder's names.

    Args:
        adapter: the configuration of the LoRA that is on the backbone.
    Returns:
        (configuration, weights under the names of PEFT's format).
    """
    if not is_tied(backbone):
        every = backbone.model.named_parameters(remove_duplicate=False)
        return adapter, {saved_key(name): weight for name, weight in every if ".lora_" in name}
    weights = fused_weights(backbone)
    names = sorted({saved_layer(key).rpartition(".")[2] for key in weights})
    return replace(adapter, target_modules=names, task_type="CAUSAL_LM"), weights


def take_saved(backbone: Backbone, saved: dict[str, Tensor], *, folder: Path) -> None:
    """Copy a saved adapter into the one of the same shape that is on the backbone.

    Args:
        saved: weights under the names of PEFT's format, ours or the released trainer's; see `load_adapter`.
        folder: where they were read, for errors.
    Raises:
        CheckpointError: they are of another base or recipe.
    """
    where = str(folder / ADAPTER_WEIGHTS)
    every = backbone.model.named_parameters(remove_duplicate=False)
    own = {name.replace(".default.", "."): weight for name, weight in every if ".lora_" in name}
    adapted, found = {name.split(".lora_")[0] for name in own}, set(adapted_layers(saved, backbone, where))
    for kind, layers in (("lacks", adapted - found), ("has", found - adapted)):
        if layers:
            raise CheckpointError(
                f"the saved adapter is not of this base or these --lora-targets: it {kind} {len(layers)} "
                f"layers ({first_few(sorted(layers))})",
                where=where,
                hint=f"On its own base, give --lora-targets {_short_names(found)}.",
            )
    state = native_state(saved, backbone, where)
    taken: dict[int, Tensor] = {}
    for name, weight in own.items():
        if name not in state or state[name].shape != weight.shape:
            kept = tuple(state[name].shape) if name in state else "missing"
            raise CheckpointError(
                f"the saved adapter is not of this recipe: {name} is {kept} in the file and {tuple(weight.shape)} here",
                where=where,
            )
        if not torch.equal(taken.setdefault(id(weight), state[name]), state[name]):
            raise CheckpointError(
                f"the saved adapter has an A of its own for {name}, which the recipe shares with other layers",
                where=where,
                hint="Give --no-tie-lora.",
            )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(state[name])


def _short_names(layers: Iterable[str]) -> str:
    """What --lora-targets calls some of the decoder's layers."""
    return ",".join(sorted({layer.rpartition(".")[2] for layer in layers}))


def adapter_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """The LoRA matrices of a model, by parameter name; one that several layers share, by the first one's."""
    return {name: weight for name, weight in model.named_parameters() if ".lora_" in name}


def _place(
    backbone: Backbone, config: LoraConfig, saved: dict[str, Tensor], folder: Path
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The decoder's layers that an adapter adapts, with the file's names of them, and its weights by the decoder's."""
    where, config_file = str(folder / ADAPTER_WEIGHTS), str(folder / ADAPTER_CONFIG)
    layers = adapted_layers(saved, backbone, where)
    _check_adapter_modules(set(layers), config, backbone, where, config_file)
    return layers, native_state(saved, backbone, where)


def _check_adapter_modules(
    found: set[str], config: LoraConfig, backbone: Backbone, where: str, config_file: str
) -> None:
    """The file must adapt every language layer its own configuration names, and nothing unknown."""
    modules = {name for name, module in backbone.model.named_modules() if isinstance(module, torch.nn.Linear)}
    unknown = found - modules
    if unknown:
        raise CheckpointError(
            f"the adapter is for another backbone: {len(unknown)} modules are not here ({first_few(sorted(unknown))})",
            where=where,
        )
    called: dict[str, set[str]] = {}
    for name in language_linears(backbone):
        for alias in (name, backbone.family.released_name(name)):  # which several parts may share
            called.setdefault(alias, set()).add(name)
            called.setdefault(f"model.{alias}", set()).add(name)
    wanted = {name for key in named_layers(config, list(called), where=config_file) for name in called[key]}
    if wanted - found:
        raise CheckpointError(
            f"the adapter lacks weights for {len(wanted - found)} modules ({first_few(sorted(wanted - found))})",
            where=where,
        )


def _check_matrices(
    state: dict[str, Tensor], layers: dict[str, str], config: LoraConfig, backbone: Backbone, where: str
) -> None:
    """Each adapted layer needs its A and B in the file, of the rank that the configuration says.

    PEFT allocates what the configuration claims, before it looks at the file.
    """
    shapes: dict[str, tuple[int, int]] = {}
    for layer in layers:
        module: Any = backbone.model.get_submodule(layer)
        r = config.rank_pattern.get(layer, config.r)
        shapes[f"{layer}.lora_A.weight"] = (r, int(module.in_features))
        shapes[f"{layer}.lora_B.weight"] = (int(module.out_features), r)
    missing = sorted(set(shapes) - set(state))
    if missing:
        raise CheckpointError(f"the adapter lacks {len(missing)} weights ({first_few(missing)})", where=where)
    for key, shape in shapes.items():
        _check_shape(key, state[key], shape, where)


def _check_shape(key: str, found: Tensor, shape: tuple[int, ...], where: str) -> None:
    if tuple(found.shape) != shape:
        raise CheckpointError(
            f"{key} is {tuple(found.shape)} in the file and {shape} in the model", where=where
        )
