"""What is trained: a frozen backbone with a fresh adapter, and a value head."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.checkpoint.save import save_checkpoint
from yoj_cli.checkpoint.separator import begin_separator, read_rows, restore_separator
from yoj_cli.config.judge import Dtype, JudgeConfig
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import OutOfMemoryError, UsageError
from yoj_cli.model.adapter import add_adapter, take_saved
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import TRAINING_WAYS_OUT, resolve_device, translate_oom
from yoj_cli.model.head import HeadConfig, ValueHead
from yoj_cli.model.load import load_backbone, load_on_meta
from yoj_cli.model.pooling import head_width
from yoj_cli.model.precision import Precision, dtype_name, resolve_dtype
from yoj_cli.scoring.forward import batch_scores
from yoj_cli.scoring.judge import DEFAULT_MAX_TOKENS
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.sequence.tokens import use_as_separator
from yoj_cli.storage.files import read_weights, share
from yoj_cli.storage.find import commit_of, count_weight_bytes
from yoj_cli.storage.names import ADAPTER_WEIGHTS, DEFAULT_SEPARATOR, HEAD_SAFE
from yoj_cli.train.design import take_design
from yoj_cli.train.start import check_fit, take_judge
from yoj_cli.train.starting_point import find_start_processor, read_start
from yoj_cli.train.template import read_template


class RewardModel(nn.Module):
    """Backbone, adapter and head as one module, as the Trainer and its wrappers want it.

    Args:
        config: size of adapter and head, how responses are read, and whether activations are recomputed.
        base_revision: the Hub commit of the base; None for a folder.
        separator: the separator and the embedding rows that were added for it; see `add_separator`.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: TrainConfig,
        base_revision: str | None = None,
        separator: tuple[str, Tensor | None] = (DEFAULT_SEPARATOR, None),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.separator, self._added_rows = separator
        self.recipe = config  # `config` would be taken for that of a transformers model
        self.base_revision = base_revision
        design = config.design
        self.adapter = add_adapter(
            backbone,
            r=design.lora_r,
            alpha=design.lora_alpha,
            dropout=design.lora_dropout,
            tied=design.tie_lora,
            targets=design.lora_targets,
        )
        self.decoder = backbone.model
        self.head = fresh_head(config, backbone.hidden_size).to(backbone.device)
        if config.gradient_checkpointing:
            # The newer name is transformers 5.23's; for Python 3.10 there are older releases alone.
            enable: Any = getattr(self.decoder, "activation_checkpointing_enable", None)
            enable = enable or self.decoder.gradient_checkpointing_enable
            enable({"use_reentrant": False})

    def forward(self, sequences: list[PackedSequence]) -> list[list[Tensor]]:
        """Score every response of every branch of some groups in one pass; see `batch_scores`."""
        return batch_scores(self.backbone, self.head, sequences)

    def train(self, mode: bool = True) -> RewardModel:
        """Switch the adapter's dropout and the recomputation of activations; all else stays in evaluation mode."""
        self.training = mode
        self.head.train(mode)
        for name, module in self.decoder.named_modules():
            if ".lora_dropout." in name:
                module.train(mode)
            elif getattr(module, "gradient_checkpointing", False):
                module.training = mode  # the flag of the layer itself, which its checkpointing asks for
        return self

    def save(self, folder: Path, base: str) -> None:
        """Write a checkpoint that `yoj score` reads into an existing folder of its own.

        Args:
            base: how the checkpoint names its base model.
        """
        save_checkpoint(
            folder,
            self.backbone,
            self.head,
            self.adapter,
            base_model=base,
            base_revision=self.base_revision,
            separator=self.separator,
            added_rows=self._added_rows,
            role="assistant",
            mode=self.recipe.mode,
            max_frames=self.recipe.design.max_frames,
            training_text_bos=self.recipe.design.training_text_bos,
            scoring_text_bos=self.recipe.design.scoring_text_bos,
            trained=Precision(self.backbone.quant, dtype_name(self.backbone.dtype)),
        )
        share(folder)

    def restore(self, folder: Path) -> None:
        """Take adapter and head from a checkpoint that `save` wrote.

        Raises:
            CheckpointError: it is not of this recipe.
        """
        take_saved(self.backbone, read_weights(folder / ADAPTER_WEIGHTS), folder=folder)
        if (rows := read_rows(folder)) is not None and self._added_rows is not None:
            embedding: Any = self.decoder.get_input_embeddings()  # type: ignore[operator]
            embedding.weight.data[-len(rows) :] = rows
            self._added_rows = rows
        self.head.load_weights(read_weights(folder / HEAD_SAFE), where=str(folder / HEAD_SAFE))


def fresh_head(config: TrainConfig, hidden_size: int) -> ValueHead:
    """A value head as the recipe wants it, its weights drawn from torch's random numbers."""
    head = ValueHead(head_config(config, hidden_size))
    head.draw_weights(config.head_std)
    return head


def head_config(config: TrainConfig, hidden_size: int) -> HeadConfig:
    """The value head that the recipe wants."""
    design = config.design
    return HeadConfig(
        design.head_type,
        design.head_dim,
        design.head_activation,
        head_width(design.resp_repr_mode, hidden_size),
        math.sqrt(hidden_size),
        design.resp_repr_mode,
    )


def load_model(config: TrainConfig, folder: Path) -> RewardModel:
    """Load the base onto the device and put adapter and head on it: drawn from the seed, or of the judge to go on from.

    Raises:
        UsageError: that judge's adapter or head is not of this recipe.
        ModelError, DeviceError: the base or the judge cannot be loaded.
    """
    device = training_device(config, folder)
    how = replace(_judge_config(config), dtype=training_dtype(config, device))
    processor, template = find_start_processor(config, folder), read_template(config.chat_template)
    backbone = load_backbone(folder, how, device, processor_folder=processor, chat_template=template)
    if config.mode == "single":
        backbone.check_branches("Train with --mode multi, or take another base.")
    separator = add_separator(backbone, config, folder)
    set_max_crops(backbone, config)
    judge = read_start(config)
    if judge is not None:
        config = _as_judge(config, judge, backbone)
    torch.manual_seed(config.seed)
    with translate_oom(_no_memory):
        model = RewardModel(backbone, config, commit_of(folder), separator)
    if judge is not None:
        take_judge(judge, backbone, model.head)
    return model


def _as_judge(config: TrainConfig, judge: Checkpoint, backbone: Backbone) -> TrainConfig:
    """The recipe as the judge to go on from decides it.

    Raises:
        UsageError: what was given contradicts the judge.
    """
    config = take_design(config, judge, backbone)
    check_fit(judge, head_config(config, backbone.hidden_size), config, backbone)
    return config


def _no_memory() -> OutOfMemoryError:
    return OutOfMemoryError(
        "there is not enough memory for the adapter and the head",
        hint="Give a smaller --lora-r or --head-dim, or free memory.",
    )


def training_device(config: TrainConfig, folder: Path) -> torch.device:
    """This process's device; with several processes, each has its own GPU.

    Args:
        folder: the base model's files; a small one trains on a CPU unasked.
    """
    device = resolve_device(_judge_config(config), count_weight_bytes(folder), ways_out=TRAINING_WAYS_OUT)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device("cuda", rank) if device.type == "cuda" else device


def training_dtype(config: TrainConfig, device: torch.device) -> Dtype:
    """What is computed in; on a CPU float32 unless told otherwise, so that a run repeats on any."""
    if config.dtype == "auto" and device.type == "cpu":
        return "float32"
    return dtype_name(resolve_dtype(config.dtype, device))


def build_sequences(config: TrainConfig, backbone: Backbone, *, held_out: bool = False) -> SequenceBuilder:
    """What turns groups into sequences, within the token limit.

    Args:
        held_out: as the finished judge will score, where that differs from how it is trained.
    """
    max_tokens = config.max_tokens or min(DEFAULT_MAX_TOKENS, backbone.context)
    if max_tokens > backbone.context:
        raise UsageError(
            f"{max_tokens} is beyond the backbone's context of {backbone.context} tokens",
            where="--max-tokens",
        )
    return SequenceBuilder(
        backbone,
        separator_text(backbone, config),
        "assistant",
        max_tokens,
        where=config.chat_template or config.base,
        text_bos=config.design.scoring_text_bos if held_out else config.design.training_text_bos,
        truncate=config.on_long == "truncate" and not held_out,
        max_vision_tokens=None if held_out else config.max_vision_tokens,
    )


def load_base_on_meta(config: TrainConfig, folder: Path) -> Backbone:
    """The base without its weights: enough to build sequences and to count."""
    processor, template = find_start_processor(config, folder), read_template(config.chat_template)
    backbone = load_on_meta(folder, _judge_config(config), processor_folder=processor, chat_template=template)
    add_separator(backbone, config, folder)
    set_max_crops(backbone, config)
    if judge := read_start(config):
        _as_judge(config, judge, backbone)
    return backbone


def set_max_crops(backbone: Backbone, config: TrainConfig) -> None:
    """Have the processor cut pictures into as many crops as the recipe says; it is saved with the checkpoint.

    Raises:
        UsageError: the base reads pictures, and cuts none into crops.
    """
    if config.max_crops is None or not backbone.family.reads_media:
        return
    if not backbone.family.cuts_crops:
        raise UsageError(f"the base ({backbone.family.name}) cuts no crops", where="--max-crops")
    backbone.processor.image_processor.max_crops = config.max_crops


def add_separator(backbone: Backbone, config: TrainConfig, folder: Path) -> tuple[str, Tensor | None]:
    """Make the separator one token: one of the base's own that was named, else the official one.

    Returns:
        (the text between two responses, (K, H) rows that the embedding got for it or None).
    Raises:
        UsageError: the named token cannot be one.
        CheckpointError: there is no row for the official one, and this architecture's vocabulary cannot grow.
    """
    separator = separator_text(backbone, config)
    if judge := read_start(config):
        return separator, restore_separator(backbone, separator, judge.folder)[1]
    return separator, begin_separator(backbone, separator, where=str(folder))


def separator_text(backbone: Backbone, config: TrainConfig) -> str:
    """The text between two responses; a token that was named for it is registered as special.

    Raises:
        UsageError: that token cannot be one, or the judge to go on from has another.
    """
    token, judge = config.separator_token, read_start(config)
    if judge is not None:
        if token is not None and judge.separator.strip() != token:
            raise UsageError(
                f"the judge to go on from has the separator {judge.separator!r}", where="--separator-token"
            )
        return judge.separator
    if token is None:
        return DEFAULT_SEPARATOR
    return use_as_separator(backbone.processor, token, where="--separator-token")


def _judge_config(config: TrainConfig) -> JudgeConfig:
    return JudgeConfig(model=config.base, device=config.device, quant=config.quant, dtype=config.dtype)
