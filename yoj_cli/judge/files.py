"""Where a model's files are found, and how its small files and weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from yoj_cli.config import DEMO
from yoj_cli.errors import CheckpointError, ModelError
from yoj_cli.judge.hub import list_weight_bytes, pull


def is_local(name: str) -> bool:
    """Whether a model name can only be a folder: a path, and no "owner/name" of the Hub."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def find_folder(
    name: str, revision: str | None, *, relative_to: Path | None = None, local_only: bool = False
) -> Path:
    """The local folder of a model name: the embedded judge, a folder, or a Hub snapshot.

    Args:
        relative_to: a checkpoint's folder, where `name` is that of its base model.
        local_only: do not ask the Hub.
    Raises:
        ModelError: it is neither here nor reachable.
    """
    here = find_local(name, relative_to=relative_to)
    return here or pull(name, revision, local_only=local_only)


def find_local(name: str, *, relative_to: Path | None = None) -> Path | None:
    """The folder of a model name that is one; None for what the Hub may have.

    Args:
        relative_to: as for `find_folder`.
    Raises:
        ModelError: there is no such folder, and the Hub cannot have it either.
    """
    if name == DEMO and not (relative_to and (relative_to / DEMO).is_dir()):
        judge = Path(__file__).parent.parent / "demo"
        return judge if relative_to is None else judge / "backbone"
    for folder in ([relative_to / name] if relative_to else []) + [Path(name).expanduser()]:
        if folder.is_dir():
            return folder
    if Path(name).expanduser().is_file():
        raise ModelError("is a file, not the folder of a judge or model", where=name)
    if is_local(name):
        raise ModelError("there is no such folder", where=name)
    if name.casefold() == DEMO:
        raise ModelError("there is no such judge or model", where=name, hint=f"Did you mean `{DEMO}`?")
    return None


def find_weight_bytes(name: str, revision: str | None, *, relative_to: Path | None = None) -> int:
    """Size of a model's weight files, without fetching them: those on this machine, else as the Hub lists them.

    Args:
        name, revision, relative_to: as for `find_folder`.
    Raises:
        ModelError: it is neither here nor reachable.
    """
    if here := find_local(name, relative_to=relative_to):
        return count_weight_bytes(here)
    try:
        return count_weight_bytes(pull(name, revision, local_only=True))
    except ModelError:
        return list_weight_bytes(name, revision)


def count_weight_bytes(folder: Path) -> int:
    """Size of the weight files in a folder, without those of folders inside."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: it is not there, cut off or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(path)) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        CheckpointError: it is not there, or is no JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise CheckpointError("is not a JSON object", where=str(path))
    return raw
