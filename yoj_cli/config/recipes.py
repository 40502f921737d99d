"""Recipes by name: `yoj train --recipe NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from yoj_cli.config.train import TrainConfig

OFFICIAL: Mapping[str, object] = {
    "base": "allenai/Molmo2-4B",
    "quant": "none",
    "dtype": "bfloat16",
    "mode": "multi",
    "loss": "ce",
    "epochs": 3,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "scheduler": "linear",
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "lora_r": 128,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "lora_targets": "all",
    "tie_lora": True,
    "head_type": "mlp",
    "head_dim": 1024,
    "head_activation": "silu",
    "head_std": 0.01,
    "resp_repr_mode": "last",
    "gradient_checkpointing": True,
    "group_order": "balanced",
    "shuffle_responses": True,
    "drop_empty_responses": True,
    "max_frames": 16,
    "max_crops": 8,
    "max_vision_tokens": 16_384,
    "on_long": "truncate",
    "training_text_bos": False,
    "scoring_text_bos": True,
    "save_every": 500,
    "keep": 3,
    "wandb_project": "mr2rm",
    "wandb_run_name": "molmo2-4b-mr2rm",
}
"""What the released training script sets (github.com/yinuoyang01/multi-response-rm at 0b6c8bc, scripts/train.sh), and
what the trainer that it starts does where the script says nothing."""

RECIPES: Mapping[str, Mapping[str, object]] = {"official": OFFICIAL}

THERE = {**OFFICIAL, "max_tokens": 24_576, "head_learning_rate": None, "init_from": None}
"""With what is not set by name: a limit that a base with a shorter context cannot have, and what is not done there."""

PAPER = "The paper's text says LoRA r 64; the released script sets 128."

INCIDENTAL = {"base", "save_every", "keep", "wandb_project", "wandb_run_name", "gradient_checkpointing"}
"""Settings that do not change how a base is trained."""


def against_official(config: TrainConfig) -> dict[str, tuple[object, object]]:
    """The settings in which a recipe trains otherwise than the released script: name -> (here, there)."""
    used = {item.name: getattr(config, item.name) for item in fields(config)}
    used |= asdict(config.design)
    used |= {"loss": config.resolved_loss, "max_tokens": config.max_tokens or THERE["max_tokens"]}
    used["max_crops"] = config.max_crops or THERE["max_crops"]  # the official base's own number
    return {
        name: (used[name], there)
        for name, there in THERE.items()
        if name not in INCIDENTAL and used[name] != there
    }
