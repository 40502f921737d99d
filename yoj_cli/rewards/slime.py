"""The trainer slime (github.com/THUDM/slime): a function for `--group-rm --custom-rm-path`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from yoj_cli.rewards.group_reward import GroupReward
from yoj_cli.rewards.shaping import neutral


class SlimeReward:
    """A judge as the reward of whole groups, called in slime's own process.

        reward = SlimeReward(model="demo", mode="multi")      # in my_reward.py: --custom-rm-path my_reward.reward

    A sample's prompt is its text, or its turns under "messages" in its metadata: where slime applies the chat template,
    the text holds the template's marks, and those the judge is not to read.

    Args:
        options: as of `GroupReward`.
    """

    def __init__(self, **options: Any) -> None:
        self.reward = GroupReward(**{"lazy": True, **options})

    async def __call__(self, args: Any, samples: Sequence[Any], **others: Any) -> list[float]:
        """Score one or several groups; other groups go on being generated meanwhile.

        Args:
            args: slime's own, unused.
            samples: of slime's Sample; those of one `group_index` are a group.
        Returns:
            A number for each: a sample that has no reward gets the mean of its group's.
        """
        columns = {name: [_media(sample, name) for sample in samples] for name in ("images", "videos")}
        ids = [getattr(sample, "group_index", None) for sample in samples]
        rewards = await asyncio.to_thread(
            self.reward,
            prompts=[sample.metadata.get("messages") or sample.prompt for sample in samples],
            completions=[sample.response for sample in samples],
            group_ids=ids,
            **columns,
        )
        found = [0.0] * len(samples)
        for each in set(ids):
            rows = [i for i, own in enumerate(ids) if own == each]
            for i, reward in zip(rows, neutral([rewards[i] for i in rows]), strict=True):
                found[i] = reward
        return found


def _media(sample: Any, name: str) -> Any:
    """A sample's pictures or clips: slime keeps them beside the prompt, or as paths in the metadata."""
    return (getattr(sample, "multimodal_inputs", None) or {}).get(name) or sample.metadata.get(name)
