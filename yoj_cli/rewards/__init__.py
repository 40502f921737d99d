"""A judge as the reward of a reinforcement-learning trainer.

>>> from yoj_cli.rewards import GroupReward
>>> trainer = GRPOTrainer(reward_funcs=GroupReward(model="demo", num_generations=8), …)

Importing this is cheap; torch and transformers are imported when one of its names is first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoj_cli.rewards.group_reward import GroupReward
    from yoj_cli.rewards.text_model import TextRewardModel

__all__ = ["GroupReward", "TextRewardModel"]

_MODULES = {"GroupReward": "group_reward", "TextRewardModel": "text_model"}

if not TYPE_CHECKING:  # a type checker would take it that every name is there

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            from importlib import import_module

            return getattr(import_module(f"yoj_cli.rewards.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
