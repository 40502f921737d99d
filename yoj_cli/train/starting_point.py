"""What a run starts from: a base model, or a judge that is trained on; and how the checkpoint names the base.

A judge to go on from is an adapter with a head (ours or the released trainer's), whose base is then the run's, or a
merged model, which then is the base itself: its adapter is part of its weights, and the run puts a fresh one on them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from yoj_cli.checkpoint.read import Checkpoint, check_base, find_processor, read_checkpoint
from yoj_cli.config.judge import DEMO, JudgeConfig
from yoj_cli.config.train import DEFAULT_BASE, TrainConfig
from yoj_cli.errors import ModelError, UsageError
from yoj_cli.storage.find import EMBEDDED, find_folder, find_local_base, hub_id_of
from yoj_cli.storage.hub import OTHERWISE, is_hub_id
from yoj_cli.storage.names import ADAPTER_CONFIG, MODEL_CONFIG
from yoj_cli.train.design import take_design

INIT, BASE = "--init-from", "--base"


def resolve_base(config: TrainConfig) -> TrainConfig:
    """The recipe with the name of its base: the one asked for, else that of the judge to go on from, else the paper's.

    What else is not given is as in that judge, but for what only its base can tell; see `take_design`.

    Raises:
        UsageError: the judge to go on from cannot be trained on, or not with this base.
        ModelError: it cannot be found or read.
    """
    judge = read_start(config)
    if judge is None:
        return config if config.base else replace(config, base=DEFAULT_BASE)
    config = replace(
        take_design(config, judge), init_revision=judge.revision
    )  # the commit, so that the recipe repeats the run
    named = judge.base_model
    if named is None:
        if config.base and config.base != config.init_from:
            raise UsageError(
                f"{config.init_from} is a merged model, which is the base itself: its head is taken, and a fresh "
                f"adapter put on its weights. It cannot be trained on {config.base}",
                where=BASE,
                hint="Leave --base out, or go on from the adapter that was merged.",
            )
        return replace(config, base=str(config.init_from), base_revision=config.init_revision)
    if config.base:
        return config
    here = find_local_base(named, judge.folder)
    if here is None:
        return replace(config, base=named, base_revision=judge.base_revision)
    return replace(config, base=DEMO if here == EMBEDDED / "backbone" else str(here.resolve()))


def read_start(config: TrainConfig) -> Checkpoint | None:
    """The judge to go on from; None where the adapter and the head start afresh.

    Raises:
        UsageError: its responses stand where training does not put them, or it was trained on another base.
        ModelError: it cannot be found or read.
    """
    if config.init_from is None:
        if config.init_revision is not None:
            raise UsageError(f"there is no {INIT} that it could be of", where="--init-revision")
        return None
    found = JudgeConfig(model=config.init_from, revision=config.init_revision)
    judge = read_checkpoint(found, named_by=INIT)
    if judge.role != "assistant":
        raise UsageError(
            f"{config.init_from} reads the responses in a turn of the {judge.role}; training puts them into the "
            "assistant's",
            where=INIT,
        )
    named = judge.base_model
    if named and config.base and named != config.base and all(map(_is_only_hub_id, (named, config.base))):
        raise UsageError(
            f"{config.init_from} was trained on {named}, and this run is to be on {config.base}",
            where=INIT,
            hint="Leave --base out, or give a folder with the same base.",
        )
    return judge


def find_base(config: TrainConfig) -> Path:
    """The folder of the base model's files.

    Args:
        config: see `resolve_base`.
    Raises:
        ModelError: it is neither here nor reachable, or is an adapter.
    """
    config = resolve_base(config)
    judge = read_start(config)
    folder = find_folder(
        config.base,
        config.base_revision,
        revision_option="--base-revision",
        otherwise=OTHERWISE.format(BASE) if judge is None else f"or say where it is ({BASE} FOLDER)",
    )
    if config.base == DEMO:
        folder /= "backbone"
    if not (folder / MODEL_CONFIG).is_file() and not (folder / ADAPTER_CONFIG).is_file():
        gguf = next(iter(sorted(folder.glob("*.gguf"))), None)
        raise ModelError(
            f"is no model in Hugging Face's format: it has no {MODEL_CONFIG}",
            where=str(folder),
            hint=f"GGUF is not read: take the model that {gguf.name} was made of." if gguf else "",
        )
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            "this is an adapter, not a backbone",
            where=str(folder),
            hint="Go on from it with --init-from, train on its base, or make a whole model of it first (`yoj merge`).",
        )
    if judge is not None and judge.base_model is not None:
        check_base(judge, folder)
    return folder


def find_start_processor(config: TrainConfig, base: Path) -> Path:
    """The folder of tokenizer and processor: those of the judge to go on from, else the base's."""
    judge = read_start(config)
    return base if judge is None else find_processor(judge, base)


def base_name(config: TrainConfig, checkpoint: Path) -> str:
    """How a checkpoint names its base: a Hub id, or a path relative to the checkpoint; never one from the root.

    Args:
        checkpoint: the folder that the checkpoint will lie in.
    Raises:
        UsageError: the base is on another drive, so that no relative path leads there.
    """
    return _portable(config.base, checkpoint, BASE)


def _portable(name: str, checkpoint: Path, option: str) -> str:
    folder = Path(name).expanduser()
    if name == DEMO or not folder.is_dir():
        return name
    folder = folder.resolve()
    if (found := hub_id_of(folder)) is not None:
        return found
    try:
        return os.path.relpath(folder, checkpoint.resolve())
    except ValueError as error:
        raise UsageError(
            f"{name} is on another drive than the new checkpoint, which can name it by no relative path",
            where=option,
            hint="Put both on one drive, or give a name on the Hub.",
        ) from error


def without_paths(config: TrainConfig, out: Path) -> dict[str, Any]:
    """The options that name something outside, as the run's folder may hold them when it leaves this machine.

    Args:
        out: the run's folder.
    """
    names: dict[str, Any] = {"base": base_name(config, out)}
    if config.init_from is not None:
        names["init_from"] = _portable(config.init_from, out, INIT)
    if config.chat_template is not None:
        path = Path(config.chat_template).expanduser()
        names["chat_template"] = f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return names


def with_full_paths(config: TrainConfig) -> dict[str, Any]:
    """The same options for recipe.toml, which stays here and may be used from any folder."""
    names = {"base": config.base, "init_from": config.init_from, "chat_template": config.chat_template}
    paths = {option: Path(name).expanduser() for option, name in names.items() if name and name != DEMO}
    return {option: str(path.resolve()) for option, path in paths.items() if path.exists()}


def _is_only_hub_id(name: str) -> bool:
    return name != DEMO and is_hub_id(name) and not Path(name).expanduser().is_dir()
