"""Which judge is loaded, on what device, and how it reads the responses."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import Options, option, positive
from yoj_cli.plan.branches import Mode, check_plan_options

DEFAULT_MODEL = "yinuoy/MR2-Molmo2-4B-RM"
DEMO = "demo"

Quant = Literal["4bit", "8bit", "none"]
QuantChoice = Literal["auto", "4bit", "8bit", "none"]
Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Role = Literal["assistant", "user"]
RespReprMode = Literal[
    "last", "first", "first_last_concat", "first_last_add", "first_last_sub", "response_mean"
]

HeadType = Literal["mlp", "linear"]
HeadActivation = Literal["selu", "gelu", "relu", "tanh", "silu"]


def _valid_device(value: str) -> str | None:
    kind, _, number = value.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        return f"{value!r} is not auto, cuda, cuda:N or cpu"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig(Options):
    """Which judge, and how it is loaded."""

    model: str | None = option(
        None,
        f"Hub id, checkpoint folder, or 'demo'. Default: $YOJ_MODEL, else {DEFAULT_MODEL}.",
        "--model",
        "-m",
        metavar="NAME",
    )
    revision: str | None = option(None, "Branch, tag or commit of the model on the Hub.", metavar="REV")
    base: str | None = option(
        None,
        "Where the base model of an adapter is, folder or Hub id, if not where the checkpoint says.",
        metavar="NAME",
    )
    device: str = option("auto", "auto, cuda, cuda:N or cpu.", metavar="DEVICE", check=_valid_device)
    quant: QuantChoice = option(
        "auto",
        "Weights of the language model: 4bit (NF4), 8bit or none. auto: as stored or trained, else 4bit on a GPU, "
        "and on a CPU none where its memory allows.",
    )
    dtype: Dtype = option(
        "auto",
        "Compute type. auto: as trained, else bfloat16 where the device has it, else float16 or float32.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig(LoadConfig):
    """Which judge, on what device, reading the responses how."""

    mode: Mode | None = option(
        None,
        "multi reads all responses together, single reads each one alone. Default: as the checkpoint was trained.",
    )
    orders: int = option(
        1,
        "Average over K orders of the responses (N have N! at most); report the spread and how many agree.",
        metavar="K",
    )
    window: int | None = option(None, "Above W responses, compare random W at a time and join.", metavar="W")
    responses_role: Role | None = option(
        None, "Turn that holds the responses. Default: as the checkpoint was trained."
    )
    seed: int = option(0, "Seed of the orders and windows.", metavar="N")
    max_tokens: int | None = option(
        None,
        "Refuse groups longer than this. Default: 24576, or the backbone's context if shorter.",
        metavar="T",
        check=positive,
    )
    max_batch_tokens: int | None = option(
        None,
        "Read short groups together, up to this many tokens a pass; default: 8192 on a GPU, 1024 on a CPU. "
        "Their scores then differ by some 1e-6 in float32; 1 reads each alone, the same to the last digit.",
        metavar="T",
        check=positive,
    )
    max_frames: int | None = option(
        None,
        "Frames read from a clip, at most 2 a second. Default: as the checkpoint was trained, 16 if it does not say.",
        metavar="F",
        check=positive,
    )
    calibration: Path | None = option(
        None,
        "Divide scores by the temperature of this file for P(best); see `yoj calibrate`.",
        metavar="FILE",
    )
    trust_remote_code: bool = option(
        False, "Let code from the model's repository run; Molmo2 and Qwen3-VL never need it."
    )

    def check_together(self) -> None:
        check_plan_options(self.mode or "multi", self.orders, self.window)

    def resolved(self) -> JudgeConfig:
        """The same options with the model's name filled in from $YOJ_MODEL or the default."""
        return replace(self, model=self.model or os.environ.get("YOJ_MODEL") or DEFAULT_MODEL)
