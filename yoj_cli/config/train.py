"""A training recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from yoj_cli.config.field import Check, Options, not_negative, option, positive, valid_seed, value_of
from yoj_cli.config.io import OnError
from yoj_cli.config.judge import Dtype, HeadActivation, HeadType, Quant, RespReprMode
from yoj_cli.plan.branches import Mode

DEFAULT_BASE = "allenai/Molmo2-4B"

Loss = Literal["ce", "plackett-luce", "bradley-terry"]
OnLong = Literal["error", "skip", "truncate"]
GroupOrder = Literal["shuffled", "file", "balanced"]
KeepBest = Literal["best_of_n", "pairs", "tau", "loss", "flipped"]
Scheduler = Literal["linear", "cosine", "constant"]


def _valid_share(value: float) -> str | None:
    return None if 0 <= value < 1 else f"{value} is not in 0 <= p < 1"


def _valid_reports(value: str) -> str | None:
    unknown = sorted(set(_split_names(value)) - {"tensorboard", "wandb"})
    return f"{', '.join(unknown)} is not one of none, tensorboard, wandb" if unknown else None


def _split_names(value: str) -> tuple[str, ...]:
    names = (name.strip() for name in value.split(","))
    return tuple(name for name in names if name not in ("", "none"))


def _of_judge(
    otherwise: Any, help_text: str, *, metavar: str | None = None, check: Check | None = None
) -> Any:
    """An option of `Design`: not given, it is as in the judge to go on from, and without one it is `otherwise`."""
    shown = ("no", "yes")[otherwise] if isinstance(otherwise, bool) else otherwise
    told = f"{help_text} Default: {shown}, or that of --init-from."
    return option(None, told, metavar=metavar, check=check, otherwise=otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What the checkpoint stores of a recipe, and a judge to go on from has already; see `TrainConfig`."""

    lora_r: int
    lora_alpha: int
    lora_dropout: float
    lora_targets: str
    tie_lora: bool
    head_type: HeadType
    head_dim: int
    head_activation: HeadActivation
    resp_repr_mode: RespReprMode
    max_frames: int
    training_text_bos: bool
    scoring_text_bos: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Options):
    """A training recipe; the defaults are the paper's (arXiv 2604.10966 and its released code)."""

    base: str = option(
        "",
        "Backbone to train on: Hub id, folder, or 'demo' (the demo judge's). "
        f"Default: {DEFAULT_BASE}, or that of --init-from.",
        metavar="NAME",
        otherwise=DEFAULT_BASE,
    )
    base_revision: str | None = option(None, "Branch, tag or commit of the base on the Hub.", metavar="REV")
    init_from: str | None = option(
        None,
        "Judge whose adapter and head are trained on, as it has them: Hub id, folder, or 'demo'. Of a merged one the "
        "head alone, on the merged weights.",
        metavar="JUDGE",
    )
    init_revision: str | None = option(
        None, "Branch, tag or commit of --init-from on the Hub.", metavar="REV"
    )
    chat_template: str | None = option(
        None,
        "Jinja file with a chat template, for a base that has none or another one; it is stored in the checkpoint.",
        metavar="FILE",
    )
    separator_token: str | None = option(
        None,
        "Special token of the base between two responses, one that nothing else uses. Default: <|resp_sep|>, with an "
        "embedding row of its own where the base has none to spare.",
        metavar="TOKEN",
    )
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
    epochs: int = option(3, "Passes over the data.", metavar="N", check=positive)
    batch_size: int = option(64, "Groups to an optimizer step, over all GPUs.", metavar="N", check=positive)
    micro_batch_tokens: int | None = option(
        None,
        "Tokens of one forward and backward pass over several groups, padding included; a longer group has a pass of "
        "its own. It changes speed and memory, not what is learnt. Default: 8192 on a GPU, 1024 on a CPU.",
        metavar="T",
        check=positive,
    )
    learning_rate: float = option(
        1e-4, "Highest learning rate.", "--learning-rate", "--lr", metavar="RATE", check=positive
    )
    head_learning_rate: float | None = option(
        None,
        "That of the value head, where it is to be another.",
        "--head-learning-rate",
        "--head-lr",
        metavar="RATE",
        check=positive,
    )
    scheduler: Scheduler = option(
        "linear",
        "How the learning rate goes on after the warm-up: to zero, linearly or as a cosine, or constant.",
    )
    warmup_ratio: float = option(
        0.0, "Share of the steps in which the learning rate rises from zero.", metavar="P", check=_valid_share
    )
    weight_decay: float = option(
        0.0, "AdamW's weight decay, of adapter and head.", metavar="RATE", check=not_negative
    )
    lora_r: int | None = _of_judge(128, "Rank of the adapter.", metavar="R", check=positive)
    lora_alpha: int | None = _of_judge(
        16, "Scale of the adapter is this over its rank.", metavar="ALPHA", check=positive
    )
    lora_dropout: float | None = _of_judge(
        0.05, "Dropout before the adapter.", metavar="P", check=_valid_share
    )
    lora_targets: str | None = _of_judge(
        "all",
        "Linear layers of the language model to adapt: all, or names with commas, the decoder's (q_proj) or those "
        "of the family's release (att_proj).",
        metavar="NAMES",
    )
    tie_lora: bool | None = _of_judge(
        True, "Share the adapter's A between the parts of a layer that is one layer in the family's release."
    )
    head_type: HeadType | None = _of_judge("mlp", "Value head: mlp (two layers) or linear (one).")
    head_dim: int | None = _of_judge(
        1024, "Width of an mlp head's middle layer.", metavar="N", check=positive
    )
    head_activation: HeadActivation | None = _of_judge("silu", "Activation of an mlp head.")
    head_std: float = option(
        0.01,
        "Standard deviation that the head's weights are drawn with; its biases start at 0.",
        metavar="STD",
        check=positive,
    )
    resp_repr_mode: RespReprMode | None = _of_judge(
        "last",
        "States of a response that the head reads: its last token's, its first's, both, or their mean.",
    )
    max_grad_norm: float = option(1.0, "Clip the gradient to this norm.", metavar="NORM", check=positive)
    gradient_checkpointing: bool | None = option(
        None,
        "Recompute activations in the backward pass instead of keeping them: less memory, more time, same result. "
        "Default: unless twice what keeping them should take is free.",
    )
    group_order: GroupOrder = option(
        "shuffled",
        "Order of the groups in an epoch: shuffled, file (as given), or balanced (text, pictures and clips equally "
        "likely to be next, as in the released trainer).",
    )
    shuffle_responses: bool = option(True, "Shuffle each group's responses, differently in each epoch.")
    seed: int = option(0, "Seed of weights, dropout and shuffling.", metavar="N", check=valid_seed)
    order_seed: int | None = option(
        None, "Seed of the order of groups and responses. Default: --seed.", metavar="N", check=valid_seed
    )
    limit: int | None = option(None, "Train on the first K groups only.", metavar="K", check=positive)
    max_tokens: int | None = option(
        None,
        "Longest group. Default: 24576, or the backbone's context if shorter.",
        metavar="T",
        check=positive,
    )
    max_frames: int | None = _of_judge(
        16, "Frames read from a clip, at most 2 a second.", metavar="F", check=positive
    )
    training_text_bos: bool | None = _of_judge(
        True,
        "Train groups of text alone with the leading bos that a family like Molmo2 has; the released trainer leaves "
        "it out there.",
    )
    scoring_text_bos: bool | None = _of_judge(
        True, "Have the judge score groups of text alone with that bos, as the released code does."
    )
    max_crops: int | None = option(
        None,
        "Most crops that a picture is cut into (Molmo2), in training and scoring. Default: the processor's own.",
        metavar="N",
        check=positive,
    )
    max_vision_tokens: int | None = option(
        None,
        "Train pictures and clips that take more tokens than this, or leave the text no room, with fewer crops or "
        "frames. Default: as they are.",
        metavar="T",
        check=positive,
    )
    on_long: OnLong = option(
        "error",
        "At a group over --max-tokens: stop; skip: leave it out; truncate: cut off its end, with the responses that "
        "begin there. Both say how many.",
    )
    on_error: OnError = option(
        "stop", "At a line or file that cannot be used: stop, or leave it out and say so."
    )
    drop_empty_responses: bool = option(
        False, "Leave out responses without a text, and say how many; they are trained on otherwise."
    )
    check: bool = option(True, "Read and tokenize every group once before the first step.")
    eval_every: int | None = option(
        None,
        "Evaluate every S steps. Default: before the first step and after each epoch.",
        metavar="S",
        check=positive,
    )
    keep_best: KeepBest | None = option(
        None,
        "The judge is the state that evaluated best by this, not the last: best_of_n, pairs, tau, loss or flipped.",
    )
    early_stopping: int | None = option(
        None, "Stop after N evaluations in a row without a better one.", metavar="N", check=positive
    )
    log_every: float = option(
        10.0,
        "Print a line at most every S seconds, and 0 each step; metrics.jsonl has them all.",
        metavar="S",
        check=not_negative,
    )
    save_every: int = option(20, "Save the state of the training every S steps.", metavar="S", check=positive)
    keep: int = option(2, "Saved states to keep.", metavar="K", check=positive)
    report_to: str = option(
        "none",
        "none, tensorboard, wandb, or several with commas; besides metrics.jsonl.",
        metavar="NAMES",
        check=_valid_reports,
    )

    wandb_project: str | None = option(
        None, "Project at Weights & Biases. Default: $WANDB_PROJECT.", metavar="NAME"
    )
    wandb_run_name: str | None = option(
        None, "Name of the run there. Default: the name of --out.", metavar="NAME"
    )

    @property
    def design(self) -> Design:
        """What the judge will be, each option with its value; of a judge to go on from, see `take_design`."""
        return Design(**{item.name: value_of(self, item.name) for item in fields(Design)})

    @property
    def resolved_order_seed(self) -> int:
        return self.seed if self.order_seed is None else self.order_seed

    @property
    def resolved_loss(self) -> Loss:
        """The loss asked for, else the paper's for this mode."""
        return self.loss or ("ce" if self.mode == "multi" else "bradley-terry")

    @property
    def reports(self) -> tuple[str, ...]:
        """Where metrics go besides metrics.jsonl."""
        return _split_names(self.report_to)
