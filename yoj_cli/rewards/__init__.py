"""A judge as the reward of a reinforcement-learning trainer.

>>> from yoj_cli.rewards import GroupReward
>>> trainer = GRPOTrainer(reward_funcs=GroupReward(model="demo", num_generations=8), …)

Importing this is cheap; torch and transformers are imported when `GroupReward` is first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoj_cli.rewards.group_reward import GroupReward

__all__ = ["GroupReward"]

if not TYPE_CHECKING:  # a type checker would take it that every name is there

    def __getattr__(name: str) -> Any:
        if name == "GroupReward":
            from yoj_cli.rewards.group_reward import GroupReward

            return GroupReward
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
