"""A judge as the reward of a reinforcement-learning trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import not_negative, option, positive
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import UsageError

Normalize = Literal["none", "softmax", "rank", "center"]
OnLong = Literal["penalty", "none", "error"]
OnOdd = Literal["score", "penalty", "none"]


def _group_size(value: int) -> str | None:
    return None if value >= 1 else f"{value!r} is no number of completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig(JudgeConfig):
    """Which judge, how the completions are grouped, and how its scores become rewards."""

    num_generations: int | None = option(
        None,
        "Completions a prompt, which follow each other in a batch. Default: the trainer's, where TRL shows it, "
        "else each call is one group.",
        check=_group_size,
    )
    num_generations_eval: int | None = option(
        None, "Completions a prompt in evaluation. Default: as num_generations.", check=_group_size
    )
    normalize: Normalize = option(
        "none",
        "none: the judge's scores. softmax: P(best) in the group. rank: the share of the others that a completion "
        "beats, ties counting half. center: scores minus the group's mean.",
    )
    on_long: OnLong = option(
        "penalty",
        "A completion that does not fit the judge: penalty, no reward (none), or an error. Never cut.",
    )
    on_empty: OnOdd = option("score", "A completion without text: score it, penalty, or no reward (none).")
    on_truncated: OnOdd = option(
        "score", "A completion of max_completion_length tokens: score it, penalty, or no reward (none)."
    )
    max_completion_length: int | None = option(
        None, "The trainer's own, in its tokens: what on_truncated goes by.", check=positive
    )
    penalty: float = option(
        1.0,
        "How far below the group's lowest reward a penalty is; below 0 where no completion has a score.",
        check=not_negative,
    )
    length_penalty: float = option(
        0.0,
        "Points of score taken off for each 1,000 characters above the group's mean length, and added below it.",
        check=not_negative,
    )
    shuffle: bool = option(
        True, "Read each group in an order of its own, which follows from seed, prompt and step."
    )
    media_root: Path | None = option(
        None, "Resolve media paths against this folder and refuse any that leave it."
    )
    allow_remote_media: bool = option(False, "Fetch http(s) media; off by default.")
    server: str | None = option(
        None,
        "Score with the judge of this server (`yoj serve`) instead of loading one; its key is $YOJ_API_KEY.",
        metavar="URL",
    )
    server_patience: float = option(
        300.0,
        "Seconds that the server may be away; let it be less than the trainer's processes wait for each other.",
        check=positive,
    )
    name: str | None = option(
        None, "What the trainer's logs call the reward. Default: yoj, yoj_multi or yoj_single."
    )
    lazy: bool = option(False, "Load the judge at the first call, in the process that calls.")

    def check_together(self) -> None:
        JudgeConfig.check_together(self)
        if self.on_truncated != "score" and self.max_completion_length is None:
            raise UsageError(
                f"on_truncated={self.on_truncated!r} needs max_completion_length",
                hint="Give the trainer's max_completion_length: a completion of so many tokens was cut off.",
            )
        if self.num_generations_eval is not None and self.num_generations is None:
            raise UsageError("num_generations_eval needs num_generations")
        if isinstance(self.media_root, str):  # as Python code has it
            object.__setattr__(self, "media_root", Path(self.media_root))
        if self.media_root is not None and not self.media_root.is_dir():
            raise UsageError(f"there is no folder {self.media_root}", where="media_root")
