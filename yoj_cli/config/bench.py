"""What `yoj bench-speed` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import not_negative, option, positive, valid_seed
from yoj_cli.config.judge import JudgeConfig, LoadConfig
from yoj_cli.errors import UsageError

Architecture = Literal["molmo2-4b", "qwen3-vl-4b", "tiny"]


def _valid_sizes(value: str) -> str | None:
    if all(number.strip().isdecimal() and int(number) for number in value.split(",")):
        return None
    return f"{value!r} is no list of positive numbers such as 1,2,4"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig(LoadConfig):
    """What `yoj bench-speed` measures: which judge, on groups of what size, how often."""

    random_init: Architecture | None = option(
        None,
        "No checkpoint: this architecture with random weights and random tokens. Its scores mean nothing.",
    )
    n: str = option(
        "8",
        "Responses of a group, or several numbers with commas.",
        "--n",
        "-n",
        metavar="N",
        check=_valid_sizes,
    )
    groups: int = option(1, "Groups that are read in each turn.", metavar="K", check=positive)
    prompt_tokens: int | None = option(
        None, "Length of drawn prompts. Default: 64.", metavar="T", check=positive
    )
    response_tokens: int | None = option(
        None, "Length of drawn responses. Default: 128.", metavar="T", check=positive
    )
    picture_tokens: int | None = option(
        None,
        "Tokens of a drawn picture, as near as the judge's sizes come to it; 0 for none. Default: 392.",
        metavar="T",
        check=not_negative,
    )
    clip_tokens: int | None = option(
        None,
        "Tokens of a drawn clip in place of the picture, as near as whole frames come to it.",
        metavar="T",
        check=not_negative,
    )
    orders: int = option(2, "Orders of the responses in (f).", metavar="K", check=positive)
    repeats: int = option(7, "Measured turns of each way.", metavar="K", check=positive)
    warmup: int = option(
        1, "Turns before them that are not counted, besides the first.", metavar="K", check=not_negative
    )
    seed: int = option(0, "Seed of drawn groups and random weights.", metavar="N", check=valid_seed)
    plot: Path | None = option(
        None, "Draw the speed-up against N into this .png or .svg file.", metavar="FILE"
    )
    json: bool = option(False, "One JSON document instead of the tables.", "--json")

    def check_together(self) -> None:
        if self.model and self.random_init:
            raise UsageError("random weights have no checkpoint: give --model or --random-init")
        if self.random_init and self.revision:
            raise UsageError("random weights have no revision", where="--revision")
        if self.random_init and self.base:
            raise UsageError("random weights have no base", where="--base")
        if self.picture_tokens and self.clip_tokens:
            raise UsageError(
                "a drawn group has a picture or a clip: give one of the two", where="--clip-tokens"
            )
        if self.plot is not None and self.plot.suffix.lower() not in (".png", ".svg"):
            raise UsageError("speed-ups are drawn as .png or .svg", where=str(self.plot))

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
            model=self.model,
            revision=self.revision,
            base=self.base,
            device=self.device,
            quant=self.quant,
            dtype=self.dtype,
        )
