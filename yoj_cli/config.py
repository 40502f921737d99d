"""Every option, declared once: its name, default, help text and checks.

The command line (`cli/options.py`) and the library (`Judge.load`) read these same dataclasses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from yoj_cli.errors import UsageError
from yoj_cli.plan import check_plan_options

DEFAULT_MODEL = "yinuoy/MR2-Molmo2-4B-RM"
DEMO = "demo"

Quant = Literal["4bit", "8bit", "none"]
Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Mode = Literal["multi", "single"]
Role = Literal["assistant", "user"]
Format = Literal["auto", "table", "jsonl", "csv", "markdown"]


def option(default: Any, help_text: str, *flags: str, metavar: str | None = None) -> Any:
    """A dataclass field that is also a command-line option; without `flags` it is `--field-name`."""
    return field(default=default, metadata={"help": help_text, "flags": flags, "metavar": metavar})


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """Which judge, on what device, reading the responses how.

    Raises:
        UsageError: a value out of range, or two options that contradict each other.
    """

    model: str | None = option(
        None,
        f"Hub id, checkpoint folder, or 'demo'. Default: $YOJ_MODEL, else {DEFAULT_MODEL}.",
        "--model",
        "-m",
        metavar="NAME",
    )
    revision: str | None = option(None, "Branch, tag or commit of the model on the Hub.", metavar="REV")
    device: str = option("auto", "auto, cuda, cuda:N or cpu.", metavar="DEVICE")
    quant: Quant = option("4bit", "Weights of the language model: 4bit (NF4), 8bit or none.")
    dtype: Dtype = option("auto", "Compute type; auto is bfloat16 on a GPU that has it and float32 on a CPU.")
    mode: Mode = option("multi", "multi reads all responses together, single reads each one alone.")
    orders: int = option(1, "Average over K orders of the responses and report the spread.", metavar="K")
    window: int | None = option(None, "Above W responses, compare random W at a time and join.", metavar="W")
    layout: Role | None = option(
        None, "Turn that holds the responses. Default: as the checkpoint was trained."
    )
    seed: int = option(0, "Seed of the orders and windows.", metavar="N")
    max_tokens: int | None = option(
        None,
        "Refuse groups longer than this. Default: 24576, or the backbone's context if shorter.",
        metavar="T",
    )
    max_frames: int = option(16, "Frames read from a clip, at most 2 a second.", metavar="F")
    trust_remote_code: bool = option(
        False, "Let code from the model's repository run; Molmo2 and Qwen3-VL never need it."
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            allowed = _CHOICES.get(item.name)
            if allowed and getattr(self, item.name) not in allowed:
                known = ", ".join(str(value) for value in allowed if value is not None)
                raise UsageError(
                    f"{getattr(self, item.name)!r} is not one of {known}", where=f"--{item.name}"
                )
        for name in ("max_tokens", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{value} is not a positive number", where=f"--{name.replace('_', '-')}")
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
            raise UsageError(f"{self.device!r} is not auto, cuda, cuda:N or cpu", where="--device")
        check_plan_options(self.mode, self.orders, self.window)

    def resolved(self) -> JudgeConfig:
        """The same options with the model's name filled in from $YOJ_MODEL or the default."""
        return replace(self, model=self.model or os.environ.get("YOJ_MODEL") or DEFAULT_MODEL)


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "quant": ("4bit", "8bit", "none"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "mode": ("multi", "single"),
    "layout": ("assistant", "user", None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig:
    """Where media may come from."""

    media_root: Path | None = option(
        None, "Resolve media paths against this folder and refuse any that leave it.", metavar="DIR"
    )
    allow_remote_media: bool = option(False, "Fetch http(s) media; off by default.")

    def __post_init__(self) -> None:
        if self.media_root is not None and not self.media_root.is_dir():
            raise UsageError(f"there is no folder {self.media_root}", where="--media-root")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig:
    """What is printed where."""

    format: Format = option(
        "auto", "auto prints tables on a terminal and JSON Lines elsewhere.", "--format", "-f"
    )
    json: bool = option(False, "Short for --format jsonl.", "--json")
    output: Path | None = option(
        None, "Write to this file instead of standard output.", "--output", "-o", metavar="FILE"
    )
    top: int | None = option(None, "Show only the K best responses of a group.", metavar="K")
    quiet: bool = option(False, "No progress, no summary.", "--quiet", "-q")

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise UsageError(f"{self.top} is not a positive number", where="--top")
        if self.json and self.format not in ("auto", "jsonl"):
            raise UsageError(f"--json contradicts --format {self.format}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training recipe; the defaults are the paper's (arXiv 2604.10966 and its released code)."""

    base: str = option("allenai/Molmo2-4B", "Backbone to train on: Hub id or folder.", metavar="NAME")
    base_revision: str | None = option(None, "Branch, tag or commit of the base on the Hub.", metavar="REV")
    device: str = option("auto", "auto, cuda, cuda:N or cpu.", metavar="DEVICE")
    quant: Quant = option("4bit", "Weights of the frozen language model: 4bit (NF4), 8bit or none.")
    dtype: Dtype = option("auto", "Compute type; auto is bfloat16 on a GPU that has it and float32 on a CPU.")
    epochs: int = option(3, "Passes over the data.")
    batch_size: int = option(64, "Groups to an optimizer step.")
    learning_rate: float = option(1e-4, "Peak learning rate; decays linearly to zero.")
    lora_r: int = option(128, "Rank of the adapter.")
    lora_alpha: int = option(16, "Scale of the adapter.")
    lora_dropout: float = option(0.05, "Dropout before the adapter.")
    head_dim: int = option(1024, "Width of the value head's middle layer.")
    max_grad_norm: float = option(1.0, "Clip the gradient to this norm.")
    shuffle_responses: bool = option(True, "Shuffle each group's responses anew in every epoch.")
    seed: int = option(0, "Seed of weights, dropout and shuffling.")
    limit: int | None = option(None, "Train on the first K groups only.", metavar="K")
    max_tokens: int | None = option(None, "Refuse groups longer than this. Default: 24576.", metavar="T")
    max_frames: int = option(16, "Frames read from a clip, at most 2 a second.", metavar="F")

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lora_r", "head_dim"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{getattr(self, name)} is not a positive number", where=f"--{name.replace('_', '-')}"
                )
