"""Finding a model by its name: the embedded judge, a folder, or a snapshot of the Hub."""

from __future__ import annotations

import os
from pathlib import Path

from yoj_cli.config.judge import DEMO
from yoj_cli.errors import ModelError, UsageError
from yoj_cli.storage.contents import check_contents
from yoj_cli.storage.hub import OTHERWISE, list_weight_bytes, pull

EMBEDDED = Path(__file__).parent.parent / "demo"
"""The judge that comes with the program, and its backbone inside."""


def is_local(name: str) -> bool:
    """Whether a model name can only be a folder: a path, and no "owner/name" of the Hub."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def find_folder(
    name: str,
    revision: str | None,
    *,
    local_only: bool = False,
    revision_option: str = "--revision",
    otherwise: str = OTHERWISE.format("--model"),
) -> Path:
    """The local folder of a model that the user named: the embedded judge, a folder, or a Hub snapshot.

    Args:
        local_only: do not ask the Hub.
        revision_option: where the user gave the revision, for errors.
        otherwise: what to do about a model that is out of reach but connect, for errors.
    Raises:
        UsageError: a revision of something that has none.
        ModelError: it is neither here nor reachable, or holds what is no file of its own (`check_contents`).
    """
    here = find_local(name)
    if here is not None and revision is not None:
        what = "the embedded judge" if name == DEMO else "a folder"
        raise UsageError(
            f"{what} has no revisions, and {revision!r} was asked for",
            where=revision_option,
            hint="Leave it away, or give the model's name on the Hub.",
        )
    return _checked(here or pull(name, revision, local_only=local_only, otherwise=otherwise))


def _checked(folder: Path) -> Path:
    check_contents(folder)
    return folder


def find_local(name: str) -> Path | None:
    """The folder of a model that the user named, where it is one; None for what the Hub may have.

    Raises:
        ModelError: there is no such folder, and the Hub cannot have it either.
    """
    path = Path(name).expanduser()
    if name == DEMO:
        return EMBEDDED
    if os.path.isdir(path):  # and False of a name too long for the system
        return path
    if os.path.isfile(path):
        raise ModelError("is a file, not the folder of a judge or model", where=name)
    if is_local(name):
        raise ModelError("there is no such folder", where=name)
    if name.casefold() == DEMO:
        raise ModelError("there is no such judge or model", where=name, hint=f"Did you mean `{DEMO}`?")
    return None


def find_weight_bytes(name: str, revision: str | None, *, checkpoint: Path | None = None) -> int:
    """Size of a model's weight files, without fetching them: those on this machine, else as the Hub lists them.

    Args:
        checkpoint: the folder whose base model is meant; None where the user named the model.
    Raises:
        ModelError: it is neither here nor reachable.
    """
    if here := find_local(name) if checkpoint is None else find_local_base(name, checkpoint):
        return count_weight_bytes(here)
    try:
        return count_weight_bytes(pull(name, revision, local_only=True))
    except ModelError:
        return list_weight_bytes(name, revision)


def count_weight_bytes(folder: Path) -> int:
    """Size of the weight files in a folder, without those of folders inside."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def find_base_folder(name: str, revision: str | None, checkpoint: Path, *, local_only: bool = False) -> Path:
    """The local folder of the base model that a checkpoint names; see `find_local_base`.

    Args:
        checkpoint: the checkpoint's folder.
        local_only: do not ask the Hub.
    Raises:
        ModelError: it is neither here nor reachable.
    """
    if here := find_local_base(name, checkpoint):
        return _checked(here)
    try:
        found = pull(name, revision, local_only=local_only, why=f"the base model that {checkpoint} names")
    except ModelError as error:
        if os.path.isdir(name):
            error.hint += f" The folder {name} here is not it; for that one, give --base ./{name}."
        else:
            error.hint += " Where it is elsewhere on this machine, say so: --base FOLDER."
        raise
    return _checked(found)


def find_local_base(name: str, checkpoint: Path) -> Path | None:
    """The folder of the base model that a checkpoint names, where it is one; None for what the Hub may have.

    The name comes from the checkpoint's files: it is a folder beside them, an absolute path, the embedded
    judge's backbone, or a model on the Hub, and never what happens to lie in the current folder.

    Raises:
        ModelError: there is no such folder, and the Hub cannot have it either.
    """
    if os.path.isdir(checkpoint / name):
        return checkpoint / name
    if name == DEMO:
        return EMBEDDED / "backbone"
    if is_local(name):
        raise ModelError(
            "there is no such folder; it is the base model that the checkpoint names",
            where=str(checkpoint / name),
            hint="Put it there, say where it is (--base, a folder or a name on the Hub), or correct base_model in "
            f"{checkpoint}.",
        )
    return None


def hub_id_of(folder: Path) -> str | None:
    """The Hub id whose snapshot a folder is; None for a folder that is no snapshot of the Hub's cache."""
    kind, _, name = folder.parent.parent.name.partition("--")
    return name.replace("--", "/", 1) if kind == "models" and commit_of(folder) and name else None


def commit_of(folder: Path) -> str | None:
    """The Hub commit whose files a folder holds; None for a folder that is no snapshot of the Hub's cache."""
    return folder.name if folder.parent.name == "snapshots" else None
