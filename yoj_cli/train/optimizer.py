"""Optimizer and learning rates of a recipe, as the released trainer has them: AdamW, weight decay on every weight."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LambdaLR

from yoj_cli.config.train import TrainConfig

NAMES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
"""What transformers calls the schedulers."""


def build_optimizer(model: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over adapter and head, each with its learning rate.

    Args:
        model: a `RewardModel`; what of it requires a gradient is trained.
    """
    adapter: list[torch.nn.Parameter] = []
    head: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (head if name.startswith("head.") else adapter).append(parameter)
    groups = [
        {"params": adapter, "lr": config.learning_rate},
        {"params": head, "lr": config.head_learning_rate or config.learning_rate},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def build_scheduler(optimizer: torch.optim.Optimizer, config: TrainConfig, n_steps: int) -> LambdaLR:
    """The factor on every learning rate, step by step.

    Args:
        n_steps: optimizer steps of the whole run; of the warm-up's share of them, whole steps count.
    """
    from transformers import get_scheduler

    scheduler: LambdaLR = get_scheduler(
        NAMES[config.scheduler],
        optimizer,
        num_warmup_steps=int(n_steps * config.warmup_ratio),
        num_training_steps=n_steps,
    )
    return scheduler
