"""Everything that is checked before the first step; nothing is written."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import DeviceError, UsageError, require
from yoj_cli.media.options import DEFAULTS, MediaOptions
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import available_bytes
from yoj_cli.model.precision import DTYPES
from yoj_cli.scoring.engine import BATCH_TOKENS
from yoj_cli.train.data import read_ranked
from yoj_cli.train.design import take_design, taken_from
from yoj_cli.train.folders import check_output, find_state
from yoj_cli.train.memory_estimate import MemoryEstimate, estimate_memory, held_by_this_process
from yoj_cli.train.model import (
    build_sequences,
    load_base_on_meta,
    training_device,
    training_dtype,
)
from yoj_cli.train.recipe import check_resume
from yoj_cli.train.starting_point import find_base, read_start, resolve_base
from yoj_cli.train.validate import DataReport, count_shared, validate_data

ROOM = 2
"""Activations are kept where this many times the estimate is free: peaks were up to 1.3 times what was expected
(tests/benchmarks/README.md)."""


@dataclass(frozen=True)
class Run:
    """A run that has been checked and can start.

    Attributes:
        recipe: the same for recipe.toml, without what was decided by the memory that is free here.
        from_judge: the options in which the run is as the judge that it goes on from.
        data, held_out: the files.
        out: folder of the new checkpoint.
        name: what the model card calls it: its Hub id, else the folder's name.
        base: folder of the backbone's files.
        train_report, eval_report: what the files hold; the second is None without held-out files.
        n_shared: held-out groups that are in the training data too.
        media: the limits of media.
        memory: about what the run will hold.
        n_steps: optimizer steps.
        resume: the saved state to go on from; None for a fresh start.
        also: further options of the command, written into recipe.toml.
    """

    config: TrainConfig
    recipe: TrainConfig
    from_judge: Mapping[str, object]
    data: tuple[Path, ...]
    held_out: tuple[Path, ...]
    out: Path
    name: str
    base: Path
    train_report: DataReport
    eval_report: DataReport | None
    n_shared: int
    media: MediaOptions
    memory: MemoryEstimate
    n_steps: int
    resume: Path | None
    also: Mapping[str, object]


def prepare(
    data: Sequence[Path],
    out: Path,
    config: TrainConfig,
    *,
    held_out: Sequence[Path] = (),
    media_root: Path | None = None,
    media: MediaOptions = DEFAULTS,
    limits: Limits = LIMITS,
    resume: bool | Path = False,
    name: str | None = None,
    also: Mapping[str, object] | None = None,
) -> Run:
    """Check everything that can be checked without the backbone's weights; nothing is written.

    Args:
        data: JSON Lines files whose lines have rankings (or are chosen/rejected pairs).
        out: folder of the new checkpoint. A base model that is a folder is referred to by its path from there, so
            that both can be moved together.
        held_out: like `data`, to evaluate on.
        media_root: see `read_groups`.
        media: the limits of media; the frames of a clip are the config's.
        limits: of lines and groups.
        resume: go on from the last state saved in `out`, or from the state that is named.
        name: what the model card calls the judge; the folder's name by default.
        also: further options of the command, to be written into recipe.toml.
    Raises:
        UsageError: the folder holds a checkpoint or others' files already, or no state to resume.
        InputError: lines or files that cannot be used.
        ModelError: the base model is not there, or the state to resume is damaged.
    """
    check_output(out)
    check_reports(config)
    check_keeping(config, has_held_out=bool(held_out))
    state = find_state(out, resume)
    config = resolve_base(config)
    base = find_base(config)
    shape = load_base_on_meta(config, base)
    from_judge: Mapping[str, object] = {}
    if judge := read_start(config):
        config = take_design(config, judge, shape)
        from_judge = taken_from(judge, config, shape)
    builder = build_sequences(config, shape)
    media = replace(media, max_frames=config.design.max_frames)
    groups = read_ranked(data, media_root, config.limit, limits)
    train_report = validate_data(groups, builder, media, config, what="DATA")
    eval_report = None
    if held_out:
        groups = read_ranked(held_out, media_root, limits=limits)
        builder = build_sequences(config, shape, held_out=True)
        eval_report = validate_data(groups, builder, media, config, what="--eval")
    if state:
        check_resume(state.parent, config, train_report, eval_report)
    recipe = config
    if config.gradient_checkpointing is None:
        recomputed = _is_short_of_memory(config, base, shape, train_report)
        config = replace(config, gradient_checkpointing=recomputed)
    return Run(
        config=config,
        recipe=recipe,
        from_judge=from_judge,
        data=tuple(data),
        held_out=tuple(held_out),
        out=out,
        name=name or out.resolve().name,
        base=base,
        train_report=train_report,
        eval_report=eval_report,
        n_shared=count_shared(train_report.groups, eval_report.groups) if eval_report else 0,
        media=media,
        memory=_estimate(config, base, shape, train_report),
        n_steps=config.epochs * math.ceil(train_report.n_groups / config.batch_size),
        resume=state,
        also=also or {},
    )


def _estimate(config: TrainConfig, base: Path, shape: Backbone, report: DataReport) -> MemoryEstimate:
    """For the longest group alone, or the largest pass over several; for that where lengths were not counted."""
    try:
        device = training_device(config, base).type
        dtype = DTYPES[training_dtype(config, training_device(config, base))]
    except DeviceError:  # a dry run where there is no GPU: estimate for one that has bfloat16
        import torch

        device, dtype = "cuda", torch.bfloat16
    longest_tokens, n_groups = report.longest[0], min(config.batch_size, report.n_groups)
    n_tokens = config.micro_batch_tokens or BATCH_TOKENS[device]
    if longest_tokens:
        n_tokens = max(longest_tokens, min(n_tokens, longest_tokens * n_groups))
    if device != "cpu":
        return estimate_memory(shape, config, dtype, n_tokens)
    media = report.media_bytes * n_groups  # the Trainer asks for all groups of a step at once
    return estimate_memory(shape, config, dtype, n_tokens, process=held_by_this_process(), media=media)


def _is_short_of_memory(config: TrainConfig, base: Path, shape: Backbone, report: DataReport) -> bool:
    """Whether activations had better be recomputed: always where the longest group or the device is not known."""
    if not report.longest[0]:
        return True
    try:
        device = training_device(config, base)
    except DeviceError:
        return True
    kept = _estimate(replace(config, gradient_checkpointing=False), base, shape, report)
    n_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1
    return ROOM * n_processes * (kept.total - kept.process) > available_bytes(device)


def check_reports(config: TrainConfig) -> None:
    """See that the libraries to report to are installed.

    Raises:
        UsageError: one is not.
    """
    for name in config.reports:
        require(f"to report to {name}", name, extra=name, where="--report-to")


def check_keeping(config: TrainConfig, *, has_held_out: bool) -> None:
    """See that there is something by which a state is the best.

    Raises:
        UsageError: there are no held-out groups, or no figure is named.
    """
    if config.early_stopping and config.keep_best is None:
        raise UsageError(
            "says not by what an evaluation is better",
            where="--early-stopping",
            hint="Add --keep-best, such as --keep-best best_of_n.",
        )
    if config.keep_best and not has_held_out:
        raise UsageError(
            "there are no held-out groups to evaluate on",
            where="--keep-best",
            hint="Name a file with --eval.",
        )
