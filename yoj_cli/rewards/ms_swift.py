"""ms-swift: a class to put into its `orms` (--external_plugins, --reward_funcs)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.rewards.group_reward import GroupReward

TAGS = {"<image>": "image", "<video>": "video"}


class SwiftReward:
    """A judge as one of ms-swift's reward functions, which it makes of its arguments and calls with columns.

        orms["yoj"] = functools.partial(SwiftReward, model="demo", mode="multi")

    Args:
        args: ms-swift's own; num_generations and num_generations_eval are taken from them.
        options: as of `GroupReward`.
    """

    def __init__(self, args: Any = None, **options: Any) -> None:
        options.setdefault("num_generations", getattr(args, "num_generations", None))
        if options["num_generations"] is not None:
            options.setdefault("num_generations_eval", getattr(args, "num_generations_eval", None))
        self.reward = GroupReward(**options)

    def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        """Score one process's rows.

        Args:
            completions: (R,) texts.
            columns: of ms-swift's samples: `messages`, which end with the completion, `images` and `videos` beside
                them, `prompt_id`, `response_token_ids`, `trainer_state`.
        """
        messages, n = columns["messages"], len(completions)
        images, videos = (columns.get(name) or [None] * n for name in ("images", "videos"))
        return self.reward(
            prompts=[
                _with_blocks(turns[:-1]) if shown or clips else list(turns[:-1])
                for turns, shown, clips in zip(messages, images, videos, strict=True)
            ],
            completions=completions,
            images=images,
            videos=videos,
            group_ids=columns.get("prompt_id"),
            completion_ids=_flat(columns.get("response_token_ids")),
            trainer_state=columns.get("trainer_state"),
        )


def _with_blocks(turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turns in which the tags that stand for pictures and clips are blocks."""
    return [
        {**turn, "content": _blocks(turn["content"])} if isinstance(turn.get("content"), str) else dict(turn)
        for turn in turns
    ]


def _blocks(text: str) -> list[dict[str, str]]:
    parts = (part for part in re.split("(<image>|<video>)", text) if part)
    return [{"type": TAGS[part]} if part in TAGS else {"type": "text", "text": part} for part in parts]


def _flat(ids: Sequence[Any] | None) -> list[list[int]] | None:
    """Token ids of each row, whose turns ms-swift keeps apart; None where a row has none."""
    if ids is None or not all(ids):
        return None
    return [
        [token for turn in row for token in turn] if isinstance(row[0], list) else list(row) for row in ids
    ]
