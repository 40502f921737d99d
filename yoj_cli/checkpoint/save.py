"""Writing checkpoints: our format, and the official one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from yoj_cli.checkpoint.adapter_files import write_adapter
from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.checkpoint.separator import write_rows
from yoj_cli.config.judge import Role
from yoj_cli.media.options import DEFAULT_MAX_FRAMES
from yoj_cli.model.adapter import saved_adapter
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import ValueHead
from yoj_cli.model.precision import UNSTATED, Precision
from yoj_cli.plan.branches import Mode
from yoj_cli.storage.files import (
    copy_file,
    read_json,
    write_json,
)
from yoj_cli.storage.names import FORMAT_VERSION, HEAD_PICKLED, HEAD_SAFE, PROCESSOR_FILES, REWARD_CONFIG

if TYPE_CHECKING:
    from peft import LoraConfig  # slow to import


def save_checkpoint(
    folder: Path,
    backbone: Backbone,
    head: ValueHead,
    adapter: LoraConfig,
    *,
    base_model: str,
    base_revision: str | None = None,
    separator: str,
    added_rows: Tensor | None = None,
    role: Role,
    mode: Mode = "multi",
    trained: Precision = UNSTATED,
    max_frames: int = DEFAULT_MAX_FRAMES,
    training_text_bos: bool = True,
    scoring_text_bos: bool = True,
) -> None:
    """Write a checkpoint in our format.

    Args:
        folder: an existing one; files of the same names are replaced.
        adapter: the configuration of the LoRA that is on the backbone.
        base_model, base_revision: Hub id or folder of the base, and the Hub commit, None for a folder.
        separator: text between two responses, with its one special token.
        added_rows: (K, H) rows that the judge adds to the base's embedding, where its vocabulary was full.
        role: the turn that holds the responses.
        mode: how the judge was trained to read them.
        trained: what it was trained in.
        max_frames: frames of a clip it was trained on.
        training_text_bos, scoring_text_bos: see `Checkpoint`.
    """
    from safetensors.torch import save_file

    write_adapter(folder, *saved_adapter(backbone, adapter), base_model, base_revision)
    state = {name: weight.detach().cpu().contiguous() for name, weight in head.layers.state_dict().items()}
    save_file(state, folder / HEAD_SAFE, metadata={"format": "pt"})
    if added_rows is not None:
        write_rows(folder, added_rows)
    backbone.processor.save_pretrained(str(folder))
    config = {
        "format_version": FORMAT_VERSION,
        **asdict(head.config),
        "base_model": base_model,
        "base_revision": base_revision,
        "base_model_type": backbone.family.name,
        "separator": separator,
        "responses_role": role,
        "mode": mode,
        "max_frames": max_frames,
        "training_text_bos": training_text_bos,
        "scoring_text_bos": scoring_text_bos,
    }
    config |= {key: value for key, value in asdict(trained).items() if value}
    write_json(folder / REWARD_CONFIG, config)


def write_official_head(folder: Path, checkpoint: Checkpoint, head: ValueHead) -> None:
    """Write the head and its configuration as the official implementation reads them.

    What their configuration does not have (separator, role, mode) is written too; they ignore it.
    """
    torch.save(head.layers.state_dict(), folder / HEAD_PICKLED)
    raw = read_json(checkpoint.folder / REWARD_CONFIG)
    config = {**asdict(checkpoint.head), **raw}
    config = {
        key: value
        for key, value in config.items()
        if key not in ("base_model", "base_revision", "base_model_type")
    }
    write_json(folder / REWARD_CONFIG, config)


def copy_processor(source: Path, folder: Path) -> None:
    """Copy a checkpoint's tokenizer and processor files, which know the separator."""
    for name in PROCESSOR_FILES:
        if (source / name).is_file():
            copy_file(source / name, folder)
