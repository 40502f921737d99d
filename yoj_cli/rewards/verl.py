"""verl: a reward manager (reward.reward_manager.source=importlib, module.path=pkg://yoj_cli.rewards.verl).

verl's reward loop hands over one completion at a time, as it is generated (`run_single`), and never says which is a
prompt's last. So a completion waits until all of its prompt's are there, or none has come for a while; for that they
must come to one worker: reward.num_workers=1. Managers of older versions get whole batches (`__call__`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from yoj_cli.errors import UsageError
from yoj_cli.rewards.group_reward import GroupReward
from yoj_cli.rewards.shaping import neutral

log = logging.getLogger("yoj_cli.rewards")
WAIT_S = 120.0


@dataclass
class _Waiting:
    """The completions of one prompt that have come so far, and what wakes those who wait for their rewards."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    futures: list[asyncio.Future[tuple[float, bool]]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class YojRewardManager:
    """A judge as verl's reward manager.

    Args:
        config: verl's own. `actor_rollout_ref.rollout.n` completions make a group; `reward.reward_kwargs` are the
            options of `GroupReward`, and wait_s: seconds without a further completion after which what is there is
            judged.
        tokenizer: the policy's, which decodes the completions.
        compute_score, others: what verl gives to every manager; unused.
    Raises:
        UsageError: more than one reward worker, each of which would see parts of groups.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **others: Any) -> None:
        settings = config.get("reward") or {}
        if int(settings.get("num_workers") or 1) != 1:
            raise UsageError(
                f"reward.num_workers is {settings.get('num_workers')}, and each would get parts of groups",
                hint="Set reward.num_workers=1: one judge reads the whole groups.",
            )
        options = {"lazy": True, **(settings.get("reward_kwargs") or {})}
        self.wait_s = float(options.pop("wait_s", WAIT_S))
        self.n = int(config["actor_rollout_ref"]["rollout"]["n"])
        self.tokenizer = tokenizer
        self.reward = GroupReward(**options)
        self._waiting: dict[str, _Waiting] = {}

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward of one completion, when its whole group has come.

        Args:
            data: a DataProto with one row, or the turns of one trajectory, of which the last is judged.
        """
        (row,) = self._read(data[-1:])
        key = row["group_id"]
        group = self._waiting.setdefault(key, _Waiting())
        future = asyncio.get_running_loop().create_future()
        group.rows.append(row)
        group.futures.append(future)
        if group.timer is not None:
            group.timer.cancel()
        if len(group.rows) >= self.n:
            self._start(key)
        else:
            group.timer = asyncio.get_running_loop().call_later(self.wait_s, self._start, key)
        reward, is_scored = await future
        return {"reward_score": reward, "reward_extra_info": {"yoj": reward, "yoj_scored": float(is_scored)}}

    def __call__(self, data: Any, return_dict: bool = False) -> Tensor | dict[str, Any]:
        """The rewards of a whole batch, each at its completion's last token.

        Returns:
            (R, T) float32, or with `return_dict` {"reward_tensor", "reward_extra_info"}.
        """
        rows = self._read(data)
        found = self._score(rows)
        tensor = self.assemble_rm_scores(data, [reward for reward, _ in found])
        extra = {"yoj": [reward for reward, _ in found], "yoj_scored": [float(scored) for _, scored in found]}
        return {"reward_tensor": tensor, "reward_extra_info": extra} if return_dict else tensor

    @classmethod
    def assemble_rm_scores(cls, data: Any, scores: Sequence[float]) -> Tensor:
        """(R, T) float32: each score at its completion's last token, 0 elsewhere."""
        n_prompt = data.batch["prompts"].shape[1]
        lengths = data.batch["attention_mask"][:, n_prompt:].sum(dim=1)  # (R,)
        tensor = torch.zeros_like(data.batch["responses"], dtype=torch.float32)
        tensor[torch.arange(len(tensor)), lengths - 1] = torch.tensor(scores, dtype=torch.float32)
        return tensor

    def _start(self, key: str) -> None:
        """Judge a group in a thread, while others go on being generated."""
        group = self._waiting.pop(key)
        if len(group.rows) < self.n:
            log.warning(
                "%d of %d completions of a prompt came; they are judged as they are", len(group.rows), self.n
            )
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._score, group.rows))
        task.add_done_callback(lambda done: _wake(group.futures, done))

    def _read(self, data: Any) -> list[dict[str, Any]]:
        """Prompt, text and group of each row."""
        n_prompt = data.batch["prompts"].shape[1]
        lengths = data.batch["attention_mask"][:, n_prompt:].sum(dim=1).tolist()
        columns, rows = data.non_tensor_batch, list[dict[str, Any]]()
        missing = [name for name in ("raw_prompt", "uid") if name not in columns]
        if missing:
            raise UsageError(
                f"verl's batch has no {' and no '.join(missing)}, and groups cannot be told apart"
            )
        for i, length in enumerate(lengths):
            ids = data.batch["responses"][i][: int(length)].tolist()
            rows.append(
                {
                    "prompt": [dict(turn) for turn in columns["raw_prompt"][i]],
                    "completion": self.tokenizer.decode(ids, skip_special_tokens=True),
                    "ids": ids,
                    "group_id": str(columns["uid"][i]),
                }
            )
        return rows

    def _score(self, rows: Sequence[dict[str, Any]]) -> list[tuple[float, bool]]:
        """The reward of each row, and whether it has a score; a row without one gets the mean of its group."""
        ids = [row["group_id"] for row in rows]
        rewards = self.reward(
            prompts=[row["prompt"] for row in rows],
            completions=[row["completion"] for row in rows],
            completion_ids=[row["ids"] for row in rows],
            group_ids=ids,
        )
        means = {
            key: neutral([r for r, own in zip(rewards, ids, strict=True) if own == key]) for key in set(ids)
        }
        return [(means[key].pop(0), reward is not None) for key, reward in zip(ids, rewards, strict=True)]


def _wake(
    futures: Sequence[asyncio.Future[tuple[float, bool]]], done: asyncio.Task[list[tuple[float, bool]]]
) -> None:
    for i, future in enumerate(futures):
        if future.done():  # who waited has given up
            continue
        if done.cancelled():  # the loop is about to end
            future.cancel()
        elif (error := done.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result()[i])
