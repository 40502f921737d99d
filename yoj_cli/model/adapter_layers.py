"""Which layers an adapter is on: by what a recipe asks for, and by the names in the files of a saved one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from yoj_cli.errors import CheckpointError, UsageError, first_few
from yoj_cli.model.backbone import Backbone

ALL_LAYERS = "all"


def language_linears(backbone: Backbone) -> dict[str, torch.nn.Linear]:
    """The linear layers of the language model that can be adapted, by module name."""
    family = backbone.family
    return {
        name: module
        for name, module in backbone.model.named_modules()
        if name.startswith(family.language_prefix)
        and isinstance(module, torch.nn.Linear)
        and name.rpartition(".")[2] not in family.unadapted
    }


def target_names(backbone: Backbone, targets: str) -> set[str]:
    """The last names of the decoder's layers that `add_adapter` is told to adapt; see there."""
    known: dict[str, set[str]] = {}
    for name in language_linears(backbone):
        leaf = name.rpartition(".")[2]
        for alias in (leaf, backbone.family.released_name(name).rpartition(".")[2]):
            known.setdefault(alias, set()).add(leaf)
    if targets == ALL_LAYERS:
        return set().union(*known.values())
    asked = [name.strip() for name in targets.split(",") if name.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise UsageError(
            f"the backbone ({backbone.family.name}) has no layer {first_few(unknown)}"
            if asked
            else "names no layer to adapt",
            where="--lora-targets",
            hint=f"Its layers: {', '.join(sorted(known))}; or 'all'.",
        )
    return set().union(*(known[name] for name in asked))


def pattern_of(backbone: Backbone, names: set[str]) -> str | list[str]:
    """What matches the linear layers of the language model that have some last names, and no other module.

    That is a pattern, which a person can read; or all the layers, where something else has such a name.
    """
    prefix = backbone.family.language_prefix
    anchored = rf"(.*\.)?{re.escape(prefix)}\..*\." if prefix else r"(.*\.)?"
    pattern = rf"{anchored}({'|'.join(map(re.escape, sorted(names)))})"
    wanted = {name for name in language_linears(backbone) if name.rpartition(".")[2] in names}
    found = {name for name, _ in backbone.model.named_modules() if re.fullmatch(pattern, name)}
    return pattern if found == wanted else sorted(wanted)


def name_layers(saved: Iterable[str], backbone: Backbone) -> tuple[set[str], bool | None]:
    """What `add_adapter` has to be told, so that it adapts the layers that a saved adapter does.

    Args:
        saved: the names of its weights in PEFT's format.
        backbone: has no adapter.
    Returns:
        (last names of the decoder's layers, whether the parts of a fused layer share one A; None where none is fused).
    """
    layers = [_native_layers(name, backbone) for name in dict.fromkeys(map(saved_layer, saved))]
    family = backbone.family
    is_part = any(len(family.layers_of(family.released_name(each))) > 1 for parts in layers for each in parts)
    tied = any(len(parts) > 1 for parts in layers)
    return {each.rpartition(".")[2] for parts in layers for each in parts}, tied if is_part else None


def _native_layers(saved: str, backbone: Backbone) -> tuple[str, ...]:
    """The decoder's layers that a layer of a saved adapter belongs to, in the order of its rows."""
    inner = saved.removeprefix("model.")
    prefix = backbone.family.language_prefix
    layers = backbone.family.layers_of(inner)
    if layers != (inner,):
        return layers
    return (inner,) if not prefix or inner.startswith(prefix) else (saved,)


def saved_layer(key: str) -> str:
    """The layer of a saved adapter key, as the model that was trained named it."""
    return key.removeprefix("base_model.model.").split(".lora_")[0]


def saved_key(name: str) -> str:
    """What PEFT's format calls an adapter's parameter."""
    return f"base_model.model.{name.replace('.default.', '.')}"


def adapted_layers(saved: dict[str, Tensor], backbone: Backbone, where: str) -> dict[str, str]:
    """The decoder's layers that an adapter adapts, each with the name of its layer in the file."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(map(saved_layer, saved)):
        for layer in _native_layers(name, backbone):
            if layer in found:
                raise CheckpointError(f"{found[layer]} and {name} both adapt {layer}", where=where)
            found[layer] = name
    return found


def native_state(saved: dict[str, Tensor], backbone: Backbone, where: str) -> dict[str, Tensor]:
    """A saved adapter's weights as the decoder names them: A (r, in) shared by a layer's parts, B (out, r) split."""
    state: dict[str, Tensor] = {}
    for key, weight in saved.items():
        name, (_, dot, kind) = saved_layer(key), key.rpartition(".lora_")
        layers = _native_layers(name, backbone)
        if kind.startswith("A"):
            pieces: Sequence[Tensor] = [weight] * len(layers)
        elif len(layers) == 1:
            pieces = [weight]
        else:
            rows = [int(backbone.model.get_submodule(layer).out_features) for layer in layers]  # type: ignore[arg-type]
            if weight.shape[0] != sum(rows):
                raise CheckpointError(
                    f"{name}.lora_{kind} is {tuple(weight.shape)} in the file and has {sum(rows)} rows in the model",
                    where=where,
                )
            pieces = torch.split(weight, rows)
        state |= {f"{layer}{dot}{kind}": piece for layer, piece in zip(layers, pieces, strict=True)}
    return state
