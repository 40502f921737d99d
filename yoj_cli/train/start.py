"""Adapter and head of a judge that is trained on: taken over whole, or refused with what does not fit."""

from __future__ import annotations

import math

from yoj_cli.checkpoint.adapter_files import read_adapter, read_adapter_shapes, read_lora_config
from yoj_cli.checkpoint.head_files import load_head
from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import UsageError
from yoj_cli.model.adapter import check_adapter, take_saved
from yoj_cli.model.adapter_layers import name_layers, target_names
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import HeadConfig, ValueHead
from yoj_cli.storage.names import ADAPTER_CONFIG
from yoj_cli.train.starting_point import INIT

NOT_MADE = ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "fan_in_fan_out")
"""Keys of an adapter's configuration: with one of them it is more than one rank, one scale and a product."""


def take_judge(judge: Checkpoint, backbone: Backbone, head: ValueHead) -> None:
    """Begin with a judge's head and, where it is not merged, its adapter.

    Args:
        backbone: has a fresh adapter on it, of a recipe that fits (`check_fit`).
        head: a fresh one, of that recipe.
    Raises:
        CheckpointError: the judge's files are damaged, or its adapter is for another base.
    """
    if judge.base_model is not None:
        _, saved = read_adapter(judge.folder)
        take_saved(backbone, saved, folder=judge.folder)
    head.load_weights(
        load_head(judge.folder, judge.head, backbone).layers.state_dict(), where=str(judge.folder)
    )


def check_fit(judge: Checkpoint, wanted: HeadConfig, config: TrainConfig, backbone: Backbone) -> None:
    """Refuse a judge whose head or adapter is not the recipe's, without reading a weight.

    Args:
        wanted: the recipe's head.
        backbone: the recipe's, without an adapter.
    Raises:
        UsageError: it cannot be trained on, or options contradict it, all of them told.
        CheckpointError: the adapter's files are damaged.
    """
    different = _compare_heads(judge.head, wanted)
    if judge.base_model is not None:
        different |= _compare_adapters(judge, config, backbone)
    different = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
    if different:
        told = ", ".join(f"{name} {found} (this run: {asked})" for name, (found, asked) in different.items())
        raise UsageError(
            f"the judge has {told}",
            where=INIT,
            hint=f"Leave {', '.join(different)} out: a run takes that from the judge.",
        )


def _compare_heads(found: HeadConfig, wanted: HeadConfig) -> dict[str, tuple[str, str]]:
    """Options of the head with the judge's value and the run's."""
    if found.hidden_size != wanted.hidden_size:
        raise UsageError(
            f"the head reads {found.hidden_size} numbers a token, this base gives {wanted.hidden_size}: "
            "it was trained on another base",
            where=INIT,
        )
    if not math.isclose(found.score_divisor, wanted.score_divisor, rel_tol=1e-6):
        raise UsageError(
            f"the judge divides its scores by {found.score_divisor:g}, training by {wanted.score_divisor:g}",
            where=INIT,
        )
    options: dict[str, tuple[str, str]] = {
        "--head-type": (found.value_head_type, wanted.value_head_type),
        "--resp-repr-mode": (found.resp_repr_mode, wanted.resp_repr_mode),
    }
    if found.value_head_type == wanted.value_head_type == "mlp":
        options["--head-dim"] = (str(found.value_head_hidden_dim), str(wanted.value_head_hidden_dim))
        options["--head-activation"] = (found.value_head_activation, wanted.value_head_activation)
    return options


def _compare_adapters(
    judge: Checkpoint, config: TrainConfig, backbone: Backbone
) -> dict[str, tuple[str, str]]:
    """Options of the adapter with the judge's value and the run's; it must compute as one of `yoj train` does."""
    adapter = read_lora_config(judge.folder / ADAPTER_CONFIG)
    odd = [key for key in NOT_MADE if getattr(adapter, key)]
    if adapter.lora_alpha != int(adapter.lora_alpha):
        odd.append(f"lora_alpha {adapter.lora_alpha:g}")
    if odd:
        raise UsageError(
            f"the judge's adapter has {odd[0]}, which `yoj train` does not make: it cannot be trained on",
            where=f"{INIT}: {judge.folder / ADAPTER_CONFIG}",
            hint="Go on from the merged model instead: `yoj merge`, then --init-from MERGED.",
        )
    saved = read_adapter_shapes(judge.folder)
    check_adapter(backbone, adapter, saved, folder=judge.folder)
    design = config.design
    layers = (
        name_layers(saved, backbone)[0],
        target_names(backbone, design.lora_targets),
    )
    found, asked = (",".join(sorted(names)) for names in layers)
    return {
        "--lora-r": (str(adapter.r), str(design.lora_r)),
        "--lora-alpha": (f"{adapter.lora_alpha:g}", f"{design.lora_alpha:g}"),
        "--lora-targets": (found, asked),
    }
