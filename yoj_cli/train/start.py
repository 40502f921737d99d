"""Adapter and head of a judge that is trained on: taken over whole, or refused with what does not fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoj_cli.checkpoint.adapter_files import read_adapter, read_lora_config
from yoj_cli.checkpoint.head_files import load_head
from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import UsageError
from yoj_cli.model.adapter import take_saved
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import HeadConfig, ValueHead
from yoj_cli.storage.names import ADAPTER_CONFIG
from yoj_cli.train.starting_point import INIT

if TYPE_CHECKING:
    from peft import LoraConfig  # slow to import


def take_judge(judge: Checkpoint, backbone: Backbone, head: ValueHead, config: TrainConfig) -> None:
    """Begin with a judge's head and, where it is not merged, its adapter.

    Args:
        backbone: has a fresh adapter on it, of the recipe.
        head: a fresh one, of the recipe.
    Raises:
        UsageError: the recipe is for another adapter or head; it says which options are.
        CheckpointError: the judge's files are damaged, or its adapter is for another base.
    """
    check_fit(judge, head.config, config)
    if judge.base_model is not None:
        _, saved = read_adapter(judge.folder)
        take_saved(backbone, saved, folder=judge.folder)
    head.load_weights(
        load_head(judge.folder, judge.head, backbone).layers.state_dict(), where=str(judge.folder)
    )


def check_fit(judge: Checkpoint, wanted: HeadConfig, config: TrainConfig) -> None:
    """Refuse a judge whose head or adapter is not the recipe's, without reading a weight.

    Raises:
        UsageError: it says which options fit.
        CheckpointError: the adapter's configuration is damaged.
    """
    _check_head(judge, wanted)
    if judge.base_model is not None:
        _check_adapter(judge, read_lora_config(judge.folder / ADAPTER_CONFIG), config)


def _check_head(judge: Checkpoint, wanted: HeadConfig) -> None:
    found = judge.head
    if found.hidden_size != wanted.hidden_size:
        raise UsageError(
            f"the head reads {found.hidden_size} numbers a token, this base gives {wanted.hidden_size}: "
            "it was trained on another base",
            where=INIT,
        )
    options: dict[str, tuple[str, str]] = {
        "--head-type": (found.value_head_type, wanted.value_head_type),
        "--resp-repr-mode": (found.resp_repr_mode, wanted.resp_repr_mode),
    }
    if found.value_head_type == "mlp":
        options["--head-dim"] = (str(found.value_head_hidden_dim), str(wanted.value_head_hidden_dim))
        options["--head-activation"] = (found.value_head_activation, wanted.value_head_activation)
    _refuse({name: pair for name, pair in options.items() if pair[0] != pair[1]}, "head")
    if not math.isclose(found.score_divisor, wanted.score_divisor, rel_tol=1e-6):
        raise UsageError(
            f"the judge divides its scores by {found.score_divisor:g}, training by {wanted.score_divisor:g}",
            where=INIT,
        )


def _check_adapter(judge: Checkpoint, adapter: LoraConfig, config: TrainConfig) -> None:
    """See that the judge's adapter computes as the recipe's does: one rank, one scale, and no more than a product."""
    for key in ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "fan_in_fan_out"):
        if getattr(adapter, key):
            raise UsageError(
                f"the judge's adapter has {key}, which `yoj train` does not make: it cannot be trained on",
                where=f"{INIT}: {judge.folder / ADAPTER_CONFIG}",
                hint="Go on from the merged model instead: `yoj merge`, then --init-from MERGED.",
            )
    pairs = {"--lora-r": (adapter.r, config.lora_r), "--lora-alpha": (adapter.lora_alpha, config.lora_alpha)}
    different = {name: (f"{has:g}", f"{wants:g}") for name, (has, wants) in pairs.items() if has != wants}
    _refuse(different, "adapter")


def _refuse(different: dict[str, tuple[str, str]], what: str) -> None:
    if different:
        told = ", ".join(f"{name} {found} (this run: {asked})" for name, (found, asked) in different.items())
        fitting = " ".join(f"{name} {found}" for name, (found, _) in different.items())
        raise UsageError(f"the judge's {what} has {told}", where=INIT, hint=f"Give {fitting}.")
