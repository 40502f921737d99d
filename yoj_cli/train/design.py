"""What a judge to go on from decides of a run: the size of adapter and head, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yoj_cli.checkpoint.adapter_files import read_adapter_shapes, read_lora_config
from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.config.train import TrainConfig
from yoj_cli.model.adapter_layers import ALL_LAYERS, name_layers, target_names
from yoj_cli.model.backbone import Backbone
from yoj_cli.storage.names import ADAPTER_CONFIG


def design_of(judge: Checkpoint, backbone: Backbone | None = None) -> dict[str, Any]:
    """The options of `Design` that a judge decides, with their values; a merged one has no adapter to decide for.

    Args:
        backbone: the judge's base, without an adapter; None where it is not known yet, and which layers are adapted is
            left open.
    Raises:
        CheckpointError: the adapter's files are damaged.
    """
    found: dict[str, Any] = {}
    if judge.base_model is not None:
        adapter = read_lora_config(judge.folder / ADAPTER_CONFIG)
        alpha = adapter.lora_alpha
        found |= {"lora_r": adapter.r, "lora_alpha": int(alpha) if alpha == int(alpha) else alpha}
        found |= {"lora_dropout": adapter.lora_dropout}
        if backbone is not None:
            found |= _layers(judge, backbone)
    found |= {"head_type": judge.head.value_head_type}
    if judge.head.value_head_type == "mlp":
        found |= {"head_dim": judge.head.value_head_hidden_dim}
        found |= {"head_activation": judge.head.value_head_activation}
    return found | {
        "resp_repr_mode": judge.head.resp_repr_mode,
        "max_frames": judge.max_frames,
        "training_text_bos": judge.training_text_bos,
        "scoring_text_bos": judge.scoring_text_bos,
    }


def _layers(judge: Checkpoint, backbone: Backbone) -> dict[str, Any]:
    names, tied = name_layers(read_adapter_shapes(judge.folder), backbone)
    is_all = names == target_names(backbone, ALL_LAYERS)
    found: dict[str, Any] = {"lora_targets": ALL_LAYERS if is_all else ",".join(sorted(names))}
    return found if tied is None else found | {"tie_lora": tied}


def take_design(config: TrainConfig, judge: Checkpoint, backbone: Backbone | None = None) -> TrainConfig:
    """The recipe with the judge's own values where none were given.

    Args:
        backbone: see `design_of`.
    """
    found = design_of(judge, backbone)
    return replace(config, **{name: value for name, value in found.items() if getattr(config, name) is None})


def taken_from(judge: Checkpoint, config: TrainConfig, backbone: Backbone) -> Mapping[str, object]:
    """The options in which a run is as the judge that it goes on from, and the separator.

    Args:
        config: from `take_design`.
        backbone: see `design_of`.
    """
    found = {
        name: value for name, value in design_of(judge, backbone).items() if getattr(config, name) == value
    }
    return found | {"separator_token": judge.separator.strip()}
