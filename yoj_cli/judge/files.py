"""Where a model's files are found, and how its small files and weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from yoj_cli.config import DEMO
from yoj_cli.errors import CheckpointError, ModelError

HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "value_head.pt"]


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
    if name == DEMO and relative_to is None:
        return Path(__file__).parent.parent / "demo"
    for folder in ([relative_to / name] if relative_to else []) + [Path(name).expanduser()]:
        if folder.is_dir():
            return folder
    if is_local(name):
        raise ModelError("there is no such folder", where=name)
    return _find_on_hub(name, revision, local_only)


def _find_on_hub(name: str, revision: str | None, local_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f"{name}@{revision}" if revision else name
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=HUB_FILES, local_files_only=local_only)
        )
    except GatedRepoError as error:
        raise ModelError(
            "the model is gated", where=at, hint="Accept its terms on the Hub, then `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError("the Hub has no such revision", where=at) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            "neither a folder here nor a model on the Hub",
            where=at,
            hint="Check the name, or `hf auth login` if it is private.",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if local_only:
            raise ModelError("not on this machine; downloaded from the Hub at first use", where=at) from error
        raise ModelError(
            "not in the local cache, and the Hub cannot be reached",
            where=at,
            hint=f"Connect and run `hf download {name}` once, give a folder, or try `--model demo`.",
        ) from error


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
