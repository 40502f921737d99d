"""Reading checkpoints: found on disk or on the Hub, checked, loaded.

Two formats are read. Ours is a LoRA adapter and a value head, with a base model elsewhere:
`adapter_config.json`, `adapter_model.safetensors`, `value_head.safetensors`, `reward_model_config.json`,
tokenizer and processor files. The official one is merged: model files, `value_head.pt` and
`reward_model_config.json`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from yoj_cli.checkpoint.adapter_files import read_adapter
from yoj_cli.checkpoint.head_files import load_head
from yoj_cli.checkpoint.separator import restore_separator
from yoj_cli.config.judge import DEMO, Dtype, JudgeConfig, Quant, Role
from yoj_cli.errors import CheckpointError, InputError, UsageError
from yoj_cli.media.options import DEFAULT_MAX_FRAMES
from yoj_cli.model.adapter import load_adapter
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import resolve_device
from yoj_cli.model.head import HeadConfig, ValueHead
from yoj_cli.model.load import load_backbone
from yoj_cli.model.precision import Precision
from yoj_cli.plan.branches import Mode
from yoj_cli.storage.files import read_json
from yoj_cli.storage.find import (
    commit_of,
    count_weight_bytes,
    find_base_folder,
    find_folder,
    find_local,
    find_weight_bytes,
)
from yoj_cli.storage.hub import OTHERWISE
from yoj_cli.storage.names import (
    ADAPTER_CONFIG,
    DEFAULT_SEPARATOR,
    FORMAT_VERSION,
    MODEL_CONFIG,
    REWARD_CONFIG,
    TOKENIZER_FILES,
)
from yoj_cli.verdicts.calibration import Calibration, parse_calibration

TEXTS: Mapping[str, tuple[type, ...]] = {
    "separator": (str,),
    "base_model": (str, type(None)),
    "base_revision": (str, type(None)),
    "base_model_type": (str, type(None)),
}
MAX_TEXT = 4096
"""Characters of one; the longest path on Linux."""
SWITCHES = ("training_text_bos", "scoring_text_bos")
CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "responses_role": get_args(Role),
    "mode": get_args(Mode),
    "quant": (*get_args(Quant), None),
    "dtype": (*get_args(Dtype)[1:], None),
}
"""Values of `reward_model_config.json`; each key may also be left out."""


@dataclass(frozen=True)
class Checkpoint:
    """What `reward_model_config.json` says beyond the head, and where it was found.

    Attributes:
        name: as the user gave it.
        folder: where its files lie.
        revision: the Hub commit; None for a folder.
        base_model: Hub id or folder of the base, None for the merged format.
        base_revision: Hub commit, branch or tag of the base; the commit once it is loaded, None for a folder.
        separator: text between two responses, with its one special token.
        role: the turn that holds the responses.
        mode: how the judge was trained to read them.
        trained: what it was trained in.
        max_frames: frames of a clip it was trained on.
        training_text_bos, scoring_text_bos: whether groups of text alone were trained, and are scored, with the
            leading bos of the family; see `SequenceBuilder`.
        base_model_type: transformers' name of the base's architecture, where the checkpoint says so.
        calibration: of P(best), as `yoj calibrate --store` put it there.
        registered_separator: the separator's id where the tokenizer files do not have it; known once it is loaded.
    """

    name: str
    folder: Path
    revision: str | None
    base_model: str | None
    base_revision: str | None
    separator: str
    role: Role
    mode: Mode
    head: HeadConfig
    trained: Precision
    max_frames: int = DEFAULT_MAX_FRAMES
    training_text_bos: bool = True
    scoring_text_bos: bool = True
    calibration: Calibration | None = None
    registered_separator: int | None = None
    base_model_type: str | None = None


def load_checkpoint(config: JudgeConfig) -> tuple[Backbone, ValueHead, Checkpoint]:
    """Everything a judge is made of, each weight accounted for.

    Raises:
        DeviceError: there is no device to run on; found before weights are downloaded for nothing.
        ModelError: the checkpoint or its base cannot be found or loaded.
        CheckpointError: an adapter, head or config that does not fit.
    """
    name = str(config.model)
    if find_local(name) is None:  # what the Hub has is looked at before it is fetched
        resolve_device(config, find_weight_bytes(name, config.revision))
    checkpoint = read_checkpoint(config)
    device = resolve_device(config, judge_bytes(checkpoint))
    base = find_base(checkpoint)
    backbone = load_backbone(
        base,
        config,
        device,
        processor_folder=find_processor(checkpoint, base),
        trained=checkpoint.trained,
    )
    registered, _ = restore_separator(backbone, checkpoint.separator, checkpoint.folder)
    checkpoint = replace(
        checkpoint,
        base_revision=commit_of(base) if checkpoint.base_model else None,
        registered_separator=registered,
    )
    if checkpoint.base_model is not None:
        load_adapter(backbone, *read_adapter(checkpoint.folder), folder=checkpoint.folder)
    head = load_head(checkpoint.folder, checkpoint.head, backbone).to(device)
    return backbone, head, checkpoint


def check_base(checkpoint: Checkpoint, base: Path) -> None:
    """Refuse a base of another architecture; its layers may have the same names and sizes.

    Raises:
        CheckpointError: it is one.
    """
    if checkpoint.base_model_type is None or not (base / MODEL_CONFIG).is_file():
        return  # the files that are missing are said when they are loaded
    found = read_json(base / MODEL_CONFIG).get("model_type")
    if found != checkpoint.base_model_type:
        raise CheckpointError(
            f"the judge {checkpoint.name} was trained on a {checkpoint.base_model_type}, and this base is a {found}",
            where=str(base),
            hint="Give the base that it was trained on, or a copy.",
        )


def judge_bytes(checkpoint: Checkpoint) -> int:
    """Size of a judge's weight files: the checkpoint's, and its base's where they are kept elsewhere.

    Raises:
        ModelError: the base is neither here nor reachable.
    """
    own = count_weight_bytes(checkpoint.folder)
    if checkpoint.base_model is None:
        return own
    base = checkpoint.base_model, checkpoint.base_revision
    return own + find_weight_bytes(*base, checkpoint=checkpoint.folder)


def find_base(checkpoint: Checkpoint, *, local_only: bool = False) -> Path:
    """The folder of the backbone's files: the checkpoint's own where it is merged, else its base's.

    Args:
        local_only: do not ask the Hub.
    Raises:
        ModelError: the base is neither here nor reachable, or of another architecture than the judge's.
    """
    if checkpoint.base_model is None:
        return checkpoint.folder
    base = find_base_folder(
        checkpoint.base_model, checkpoint.base_revision, checkpoint.folder, local_only=local_only
    )
    check_base(checkpoint, base)
    return base


def find_processor(checkpoint: Checkpoint, base: Path) -> Path:
    """The folder of tokenizer and processor: the checkpoint's own; the base's where an adapter comes without.

    The official trainer saves its states between epochs without.
    """
    has_own = any((checkpoint.folder / name).is_file() for name in TOKENIZER_FILES)
    return checkpoint.folder if has_own else base


def read_checkpoint(
    config: JudgeConfig, *, local_only: bool = False, named_by: str = "--model"
) -> Checkpoint:
    """Find a checkpoint (downloading it from the Hub if need be) and read its configuration; no weights.

    Args:
        named_by: the option that the model was given by, for errors.
    """
    name = str(config.model)
    folder = find_folder(name, config.revision, local_only=local_only, otherwise=OTHERWISE.format(named_by))
    where = folder / REWARD_CONFIG
    if not where.is_file():
        raise CheckpointError(
            f"{name} is not a reward model: it has no {REWARD_CONFIG}",
            where=str(folder),
            hint="Give a folder made by `yoj train`, or a model published in the official format.",
        )
    raw = read_json(where)
    _check_values(raw, str(where))
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if is_adapter and not raw.get("base_model"):
        adapter = read_json(folder / ADAPTER_CONFIG)
        raw["base_model"] = adapter.get("base_model_name_or_path")
        raw.setdefault("base_revision", adapter.get("revision"))
        _check_values(raw, str(folder / ADAPTER_CONFIG))
        if not raw["base_model"] and config.base is None:
            raise CheckpointError(
                "the adapter does not say what it was trained on",
                where=str(folder / ADAPTER_CONFIG),
                hint=f"Name it: --base, base_model_name_or_path there, or base_model in {REWARD_CONFIG}.",
            )
    if config.base is not None:
        raw |= _given_base(config.base, raw, is_adapter=is_adapter)
    return Checkpoint(
        name=name,
        folder=folder,
        revision=commit_of(folder),
        base_model=str(raw["base_model"]) if is_adapter else None,
        base_revision=raw.get("base_revision"),
        base_model_type=raw.get("base_model_type"),
        max_frames=raw.get("max_frames", DEFAULT_MAX_FRAMES),
        separator=raw.get("separator", DEFAULT_SEPARATOR),
        role=raw.get("responses_role", "assistant"),
        mode=raw.get("mode", "multi"),
        head=HeadConfig.parse(raw, where=str(where)),
        trained=Precision(raw.get("quant"), raw.get("dtype")),
        calibration=_calibration_of(raw, str(where)),
        **{key: raw[key] for key in SWITCHES if key in raw},
    )


def _given_base(base: str, raw: Mapping[str, Any], *, is_adapter: bool) -> dict[str, str | None]:
    """What the checkpoint would say of its base if it were where the user says.

    Raises:
        UsageError: the checkpoint is merged, so that it has no base.
        ModelError: there is no such folder.
    """
    if not is_adapter:
        raise UsageError(
            "the checkpoint is a merged model, which has no base", where="--base", hint="Leave it out."
        )
    folder = find_local(base)
    if folder is None or base == DEMO:
        revision = raw.get("base_revision") if base == raw.get("base_model") else None
        return {"base_model": base, "base_revision": revision}
    return {"base_model": str(folder.resolve()), "base_revision": None}


def _calibration_of(raw: Mapping[str, Any], where: str) -> Calibration | None:
    if raw.get("calibration") is None:
        return None
    try:
        return parse_calibration(raw["calibration"], where)
    except InputError as error:
        raise CheckpointError(error.what, where=where, hint=error.hint) from error


def _check_values(raw: Mapping[str, Any], where: str) -> None:
    """Refuse what this version does not know; keys that the official format does not have may be left out.

    Raises:
        CheckpointError: a newer format, or a value of the wrong type or that is none of the known ones.
    """
    version = raw.get("format_version", 0)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"format_version is {version!r}, this yoj reads up to {FORMAT_VERSION}",
            where=where,
            hint="Update yoj-cli.",
        )
    for key, kinds in TEXTS.items():
        value = raw.get(key, "")
        if not isinstance(value, kinds) or len(str(value)) > MAX_TEXT:
            raise CheckpointError(
                f"{key} is {reprlib.repr(value)}, which is no text of up to {MAX_TEXT:,} characters",
                where=where,
            )
    for key, known in CHOICES.items():
        if key in raw and raw[key] not in known:
            names = ", ".join(value for value in known if value is not None)
            raise CheckpointError(f"{key} is {raw[key]!r}; known are {names}", where=where)
    for key in SWITCHES:
        if not isinstance(raw.get(key, True), bool):
            raise CheckpointError(f"{key} is {raw[key]!r}; it is true or false", where=where)
    max_frames = raw.get("max_frames", DEFAULT_MAX_FRAMES)
    if not isinstance(max_frames, int) or isinstance(max_frames, bool) or max_frames < 1:
        raise CheckpointError(f"max_frames is {max_frames!r}, which is no number of frames", where=where)
