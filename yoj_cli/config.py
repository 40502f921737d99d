"""Every option, declared once: its name, default, help text and checks.

The command line (`cli/options.py`) and the library (`Judge.load`) read these same dataclasses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from yoj_cli.errors import UsageError
from yoj_cli.plan import check_plan_options

DEFAULT_MODEL = "yinuoy/MR2-Molmo2-4B-RM"
DEMO = "demo"

Quant = Literal["4bit", "8bit", "none"]
QuantChoice = Literal["auto", "4bit", "8bit", "none"]
Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Mode = Literal["multi", "single"]
Loss = Literal["ce", "plackett-luce", "bradley-terry"]
Role = Literal["assistant", "user"]
RespReprMode = Literal[
    "last", "first", "first_last_concat", "first_last_add", "first_last_sub", "response_mean"
]
Format = Literal["auto", "table", "jsonl", "csv", "markdown"]
OnError = Literal["stop", "skip"]
OnLong = Literal["error", "skip"]
Architecture = Literal["molmo2-4b", "qwen3-vl-4b", "tiny"]


def option(default: Any, help_text: str, *flags: str, metavar: str | None = None) -> Any:
    """A dataclass field that is also a command-line option; without `flags` it is `--field-name`."""
    return field(default=default, metadata={"help": help_text, "flags": flags, "metavar": metavar})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig:
    """Which judge, and how it is loaded."""

    model: str | None = option(
        None,
        f"Hub id, checkpoint folder, or 'demo'. Default: $YOJ_MODEL, else {DEFAULT_MODEL}.",
        "--model",
        "-m",
        metavar="NAME",
    )
    revision: str | None = option(None, "Branch, tag or commit of the model on the Hub.", metavar="REV")
    device: str = option("auto", "auto, cuda, cuda:N or cpu.", metavar="DEVICE")
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
    """Which judge, on what device, reading the responses how.

    Raises:
        UsageError: a value out of range, or two options that contradict each other.
    """

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
    layout: Role | None = option(
        None, "Turn that holds the responses. Default: as the checkpoint was trained."
    )
    seed: int = option(0, "Seed of the orders and windows.", metavar="N")
    max_tokens: int | None = option(
        None,
        "Refuse groups longer than this. Default: 24576, or the backbone's context if shorter.",
        metavar="T",
    )
    max_batch_tokens: int | None = option(
        None,
        "Read short groups together, up to this many tokens a pass; default: 8192 on a GPU, 1024 on a CPU. "
        "Their scores then differ by some 1e-6 in float32; 1 reads each alone, the same to the last digit.",
        metavar="T",
    )
    max_frames: int | None = option(
        None,
        "Frames read from a clip, at most 2 a second. Default: as the checkpoint was trained, 16 if it does not say.",
        metavar="F",
    )
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
        for name in ("max_tokens", "max_batch_tokens", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{value} is not a positive number", where=f"--{name.replace('_', '-')}")
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
            raise UsageError(f"{self.device!r} is not auto, cuda, cuda:N or cpu", where="--device")
        check_plan_options(self.mode or "multi", self.orders, self.window)

    def resolved(self) -> JudgeConfig:
        """The same options with the model's name filled in from $YOJ_MODEL or the default."""
        return replace(self, model=self.model or os.environ.get("YOJ_MODEL") or DEFAULT_MODEL)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"{seed} is not in 0 … {2**32 - 1}, which NumPy and torch take", where="--seed")


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "quant": ("auto", "4bit", "8bit", "none"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "mode": ("multi", "single", None),
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
        None, "Write to this new file instead of standard output.", "--output", "-o", metavar="FILE"
    )
    overwrite: bool = option(False, "Let -o replace the results that FILE holds.")
    top: int | None = option(None, "Show only the K best responses of a group.", metavar="K")
    raw: bool = option(
        False, "CSV cells exactly as in the input, also those that a terminal or spreadsheet would act on."
    )
    quiet: bool = option(False, "No progress, no summary.", "--quiet", "-q")

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise UsageError(f"{self.top} is not a positive number", where="--top")
        if self.json and self.format not in ("auto", "jsonl"):
            raise UsageError(f"--json contradicts --format {self.format}")
        if self.overwrite and self.output is None:
            raise UsageError("there is nothing to overwrite without -o FILE", where="--overwrite")
        if self.raw and self.format != "csv":
            raise UsageError("is for --format csv; no other format changes a text", where="--raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training recipe; the defaults are the paper's (arXiv 2604.10966 and its released code).

    Raises:
        UsageError: a value out of range.
    """

    base: str = option(
        "allenai/Molmo2-4B",
        "Backbone to train on: Hub id, folder, or 'demo' (the demo judge's).",
        metavar="NAME",
    )
    base_revision: str | None = option(None, "Branch, tag or commit of the base on the Hub.", metavar="REV")
    device: Literal["auto", "cuda", "cpu"] = option(
        "auto", "auto, cuda or cpu. Several GPUs: start yoj by torchrun or accelerate launch."
    )
    quant: Quant = option("4bit", "Weights of the frozen language model: 4bit (NF4), 8bit or none.")
    dtype: Dtype = option("auto", "Compute type; auto is bfloat16 on a GPU that has it and float32 on a CPU.")
    mode: Mode = option("multi", "multi reads all responses together, single each one alone (the baseline).")
    loss: Loss | None = option(
        None,
        "ce (best of N), plackett-luce (whole ranking) or bradley-terry (all pairs). "
        "Default: ce, and bradley-terry with --mode single.",
    )
    epochs: int = option(3, "Passes over the data.", metavar="N")
    batch_size: int = option(64, "Groups to an optimizer step, over all GPUs.", metavar="N")
    learning_rate: float = option(
        1e-4, "Learning rate at the start; decays linearly to zero.", metavar="RATE"
    )
    lora_r: int = option(128, "Rank of the adapter.", metavar="R")
    lora_alpha: int = option(16, "Scale of the adapter is this over its rank.", metavar="ALPHA")
    lora_dropout: float = option(0.05, "Dropout before the adapter.", metavar="P")
    head_dim: int = option(1024, "Width of the value head's middle layer.", metavar="N")
    resp_repr_mode: RespReprMode = option(
        "last",
        "States of a response that the head reads: its last token's, its first's, both, or their mean.",
    )
    max_grad_norm: float = option(1.0, "Clip the gradient to this norm.", metavar="NORM")
    gradient_checkpointing: bool = option(
        True, "Compute each layer twice and keep only its input: less memory, more time; same result."
    )
    shuffle_responses: bool = option(True, "Shuffle each group's responses anew in every epoch.")
    seed: int = option(0, "Seed of weights, dropout and shuffling.", metavar="N")
    limit: int | None = option(None, "Train on the first K groups only.", metavar="K")
    max_tokens: int | None = option(
        None,
        "Longest group. Default: 24576, or the backbone's context if shorter.",
        metavar="T",
    )
    max_frames: int = option(16, "Frames read from a clip, at most 2 a second.", metavar="F")
    on_long: OnLong = option("error", "At a group over --max-tokens: stop, or leave it out and say so.")
    on_error: OnError = option(
        "stop", "At a line or file that cannot be used: stop, or leave it out and say so."
    )
    check: bool = option(True, "Read and lay out every group once before the first step.")
    eval_every: int | None = option(
        None, "Evaluate every S steps. Default: before the first step and after each epoch.", metavar="S"
    )
    save_every: int = option(20, "Save the state of the training every S steps.", metavar="S")
    keep: int = option(2, "Saved states to keep.", metavar="K")
    report_to: str = option(
        "none", "none, tensorboard, wandb, or several with commas; besides metrics.jsonl.", metavar="NAMES"
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in _POSITIVE and value is not None and not value > 0:
                raise UsageError(
                    f"{value} is not a positive number", where=f"--{item.name.replace('_', '-')}"
                )
            allowed = _TRAIN_CHOICES.get(item.name)
            if allowed and value not in allowed:
                raise UsageError(
                    f"{value!r} is not one of {', '.join(str(each) for each in allowed if each)}",
                    where=f"--{item.name.replace('_', '-')}",
                )
        _check_seed(self.seed)
        if not 0 <= self.lora_dropout < 1:
            raise UsageError(f"{self.lora_dropout} is not in 0 <= p < 1", where="--lora-dropout")
        unknown = set(self.reports) - {"tensorboard", "wandb"}
        if unknown:
            raise UsageError(
                f"{', '.join(sorted(unknown))} is not one of none, tensorboard, wandb", where="--report-to"
            )

    @property
    def resolved_loss(self) -> Loss:
        """The loss asked for, else the paper's for this mode."""
        return self.loss or ("ce" if self.mode == "multi" else "bradley-terry")

    @property
    def reports(self) -> tuple[str, ...]:
        """Where metrics go besides metrics.jsonl."""
        names = (name.strip() for name in self.report_to.split(","))
        return tuple(name for name in names if name not in ("", "none"))


_POSITIVE = {
    *("epochs", "batch_size", "learning_rate", "lora_r", "lora_alpha", "head_dim", "max_grad_norm", "limit"),
    *("max_tokens", "max_frames", "eval_every", "save_every", "keep"),
}
_TRAIN_CHOICES: dict[str, tuple[str | None, ...]] = {
    "device": ("auto", "cuda", "cpu"),
    "quant": ("4bit", "8bit", "none"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "mode": ("multi", "single"),
    "loss": ("ce", "plackett-luce", "bradley-terry", None),
    "resp_repr_mode": get_args(RespReprMode),
    "on_long": ("error", "skip"),
    "on_error": ("stop", "skip"),
}


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
