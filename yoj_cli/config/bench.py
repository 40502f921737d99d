"""What `yoj bench-speed` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import _check_seed, option
from yoj_cli.config.judge import JudgeConfig, LoadConfig
from yoj_cli.errors import UsageError

Architecture = Literal["molmo2-4b", "qwen3-vl-4b", "tiny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig(LoadConfig):
    """What `yoj bench-speed` measures: which judge, on groups of what size, how often.

    Raises:
        UsageError: a value out of range, or two options that contradict each other.
    """

    random_init: Architecture | None = option(
        None,
        "No checkpoint: this architecture with random weights and random tokens. Its scores mean nothing.",
    )
    n: str = option("8", "Responses of a group, or several numbers with commas.", "--n", "-n", metavar="N")
    groups: int = option(1, "Groups that are read in each turn.", metavar="K")
    prompt_tokens: int | None = option(None, "Length of drawn prompts. Default: 64.", metavar="T")
    response_tokens: int | None = option(None, "Length of drawn responses. Default: 128.", metavar="T")
    picture_tokens: int | None = option(
        None,
        "Tokens of a drawn picture, as near as the judge's sizes come to it; 0 for none. Default: 392.",
        metavar="T",
    )
    clip_tokens: int | None = option(
        None,
        "Tokens of a drawn clip in place of the picture, as near as whole frames come to it.",
        metavar="T",
    )
    orders: int = option(2, "Orders of the responses in (f).", metavar="K")
    repeats: int = option(7, "Measured turns of each way.", metavar="K")
    warmup: int = option(1, "Turns before them that are not counted, besides the first.", metavar="K")
    seed: int = option(0, "Seed of drawn groups and random weights.", metavar="N")
    plot: Path | None = option(
        None, "Draw the speed-up against N into this .png or .svg file.", metavar="FILE"
    )
    json: bool = option(False, "One JSON document instead of the tables.", "--json")

    def __post_init__(self) -> None:
        if self.model and self.random_init:
            raise UsageError("random weights have no checkpoint: give --model or --random-init")
        if self.random_init not in ("molmo2-4b", "qwen3-vl-4b", "tiny", None):
            raise UsageError(
                f"{self.random_init!r} is not one of molmo2-4b, qwen3-vl-4b, tiny", where="--random-init"
            )
        if self.random_init and self.revision:
            raise UsageError("random weights have no revision", where="--revision")
        for name in ("groups", "prompt_tokens", "response_tokens", "orders", "repeats"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{value} is not a positive number", where=f"--{name.replace('_', '-')}")
        for name in ("picture_tokens", "clip_tokens", "warmup"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{value} is negative", where=f"--{name.replace('_', '-')}")
        if self.picture_tokens and self.clip_tokens:
            raise UsageError(
                "a drawn group has a picture or a clip: give one of the two", where="--clip-tokens"
            )
        if not all(number.strip().isdecimal() and int(number) for number in self.n.split(",")):
            raise UsageError(f"{self.n!r} is no list of positive numbers such as 1,2,4", where="--n")
        if self.plot is not None and self.plot.suffix.lower() not in (".png", ".svg"):
            raise UsageError("speed-ups are drawn as .png or .svg", where=str(self.plot))
        _check_seed(self.seed)
        _ = self.judge  # its options are checked where they are declared

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of responses, each once and in order."""
        return tuple(sorted({int(number) for number in self.n.split(",")}))

    @property
    def token_sizes(self) -> tuple[int, int, int, int]:
        """Tokens of a drawn prompt, response, picture and clip."""
        picture, clip = self.picture_tokens, self.clip_tokens or 0
        if picture is None:
            picture = 0 if clip else 392
        return self.prompt_tokens or 64, self.response_tokens or 128, picture, clip

    @property
    def judge(self) -> JudgeConfig:
        """The judge that is measured."""
        return JudgeConfig(
            model=self.model, revision=self.revision, device=self.device, quant=self.quant, dtype=self.dtype
        )
