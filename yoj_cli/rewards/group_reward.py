"""The reward itself: a callable for TRL's GRPOTrainer, and what the adapters of other trainers call."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from yoj_cli.config.rewards import RewardConfig
from yoj_cli.errors import TooLongError, UsageError, YojError, errors_at
from yoj_cli.media.options import MediaOptions
from yoj_cli.rewards.chunks import Chunk, build_chunk
from yoj_cli.rewards.grouping import HINT, cut, cut_by_id, group_size, ids_of, trainer_of
from yoj_cli.rewards.judging import Judged, judge_groups
from yoj_cli.rewards.loaded import close_judge, loaded_judge
from yoj_cli.rewards.metrics import batch_metrics
from yoj_cli.rewards.rows import read_rows

if TYPE_CHECKING:
    from yoj_cli.client.judge import RemoteJudge
    from yoj_cli.scoring.judge import Judge

log = logging.getLogger("yoj_cli.rewards")
NO_LENGTHS = (
    "on_truncated is set, and the trainer gives no completion_ids to tell which completions were cut off"
)


class GroupReward(RewardConfig):
    """A judge as a reward that reads all completions of a prompt in one pass.

        trainer = GRPOTrainer(model, reward_funcs=GroupReward(model="demo", num_generations=8), …)

    It is its settings, the fields of `RewardConfig` and `JudgeConfig`, and so can be pickled to other processes. The
    judge is loaded once in each, when the reward is made (or first called: `lazy=True`), and shared by all that ask
    for the same.

    Where several processes train together, a call never raises on one of them alone, for the others would wait for it
    for ever: rows that cannot be scored are None there, and the log says why. In one process what cannot be meant
    (parts of groups, a device that is gone) raises.

    Raises:
        UsageError: options that contradict each other.
        ModelError, DeviceError: the judge cannot be loaded.
        ServerError: with `server`, it cannot be reached.
    """

    def __post_init__(self) -> None:
        RewardConfig.__post_init__(self)
        if not self.lazy:
            self.load()

    @property
    def __name__(self) -> str:
        """What a trainer's logs call it."""
        return self.name or ("yoj" if self.mode is None else f"yoj_{self.mode}")

    def load(self) -> Judge | RemoteJudge:
        """The judge of this process, or the server's."""
        return loaded_judge(self)

    def close(self) -> None:
        """Give the judge's memory back, also to others that share it; a further call loads it again."""
        close_judge(self)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **given: Any
    ) -> list[float | None]:
        """Score the completions of one or several prompts.

        Args:
            prompts: (R,) texts or conversations; the rows of a prompt follow each other.
            completions: (R,) texts, or conversations of one assistant's turn.
            given: columns of (R,) values, of which pictures and clips are read ("image", "images", "video", "videos");
                `group_ids` where the trainer names the group of each row, and they need not follow each other; and
                `completion_ids`, `trainer_state`, `log_metric` and `log_extra` where it has them.
        Returns:
            (R,) rewards, higher is better; None where a row has none.
        Raises:
            UsageError: a batch that holds parts of groups, or does not tell how long completions are where
                `on_truncated` needs it; in a process that trains alone, or on all alike.
            InputError: columns that do not have a value for each row.
            TooLongError: with on_long="error", in a process that trains alone.
        """
        started = time.perf_counter()
        step = int(getattr(given.get("trainer_state"), "global_step", 0) or 0)
        ids, trainer = ids_of(given.get("group_ids"), len(prompts)), trainer_of(given.get("log_metric"))
        sizes = group_size(self, None if ids is not None else len(prompts), trainer)
        rows = read_rows(prompts, completions, given, media_root=self.media_root, where=f"step {step}")
        if self.on_truncated != "score" and rows and all(row.n_tokens is None for row in rows):
            self._refuse(UsageError(NO_LENGTHS, where=f"step {step}", hint="Leave on_truncated away."))
        keys = [row.key for row in rows]
        at, problem = cut(keys, sizes) if ids is None else cut_by_id(ids, keys, sizes)
        if problem:
            self._refuse(UsageError(problem, where=f"step {step}", hint=HINT))
        chunks = [build_chunk(rows, each, step, self) for each in at]
        self._judge(chunks)
        rewards: list[float | None] = [None] * len(rows)
        for chunk in chunks:
            for i, reward in zip(chunk.at, chunk.rewards(self), strict=True):
                rewards[i] = reward
        self._log_reasons(chunks)
        _log_scores(given.get("log_extra"), self.__name__, len(rows), chunks)
        log_metric = given.get("log_metric")
        if log_metric is not None:
            for name, value in batch_metrics(chunks, rewards).items():
                log_metric(f"{self.__name__}/{name}", value)
            log_metric(f"{self.__name__}/seconds", time.perf_counter() - started)
        return rewards

    def _judge(self, chunks: Sequence[Chunk]) -> None:
        """Score all groups, and decide what happens to what could not be."""
        read = [(chunk, chunk.group) for chunk in chunks if chunk.group is not None]
        media = MediaOptions(allow_remote=self.allow_remote_media)
        try:
            with errors_at(""):
                found = judge_groups(self.load(), [group for _, group in read], media)
        except YojError as error:
            self._refuse(error)
            found = [Judged(None, failure=error) for _ in read]
        for (chunk, _), judged in zip(read, found, strict=True):
            chunk.judged = judged
            for i, place in enumerate(chunk.place):
                if place is None:
                    continue
                problem = judged.failure or judged.left_out.get(place)
                if place in judged.left_out and isinstance(judged.left_out[place], TooLongError):
                    problem = judged.left_out[place]
                    if self.on_long == "error":
                        self._refuse(problem)
                    chunk.is_penalized[i] = self.on_long == "penalty"
                if problem is not None:
                    chunk.problems[i] = problem

    def _refuse(self, error: YojError) -> None:
        """Raise, where no other process waits for this one; else say it in the log."""
        if not _trains_with_others():
            raise error
        log.error("%s", error)

    def _log_reasons(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            for (reason, is_penalized), at in chunk.reasons().items():
                what = "a penalty" if is_penalized else "no reward"
                names = ", ".join(map(str, at))
                log.warning("%d of %d rows (%s) get %s: %s", len(at), len(chunk.rows), names, what, reason)


def _log_scores(
    log_extra: Callable[[str, list[Any]], Any] | None, name: str, n_rows: int, chunks: Sequence[Chunk]
) -> None:
    """Give the trainer's table of completions the judge's own scores, and where each completion was read."""
    if log_extra is None:
        return
    columns: dict[str, list[Any]] = {"score": [None] * n_rows, "place": [None] * n_rows}
    for chunk in chunks:
        for i, score, place in zip(chunk.at, chunk.scores, chunk.place, strict=True):
            columns["score"][i], columns["place"][i] = score, place
    for column, values in columns.items():
        log_extra(f"{name}/{column}", values)


def _trains_with_others() -> bool:
    """Whether this process waits for others, and they for it."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
