"""A training recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from yoj_cli.config.field import _check_seed, option
from yoj_cli.config.io import OnError
from yoj_cli.config.judge import Dtype, Mode, Quant, RespReprMode
from yoj_cli.errors import UsageError

Loss = Literal["ce", "plackett-luce", "bradley-terry"]


OnLong = Literal["error", "skip"]


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
