"""Where a model's files are found, and how its small files and weights are read.

A checkpoint may come from a stranger. Whatever its files hold, reading them ends in what they say or in an error
that names the file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from yoj_cli.config.judge import DEMO
from yoj_cli.errors import CheckpointError, ModelError, UsageError, YojError
from yoj_cli.storage.hub import list_weight_bytes, pull

EMBEDDED = Path(__file__).parent.parent / "demo"
"""The judge that comes with the program, and its backbone inside."""


def is_local(name: str) -> bool:
    """Whether a model name can only be a folder: a path, and no "owner/name" of the Hub."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def find_folder(
    name: str, revision: str | None, *, local_only: bool = False, revision_option: str = "--revision"
) -> Path:
    """The local folder of a model that the user named: the embedded judge, a folder, or a Hub snapshot.

    Args:
        local_only: do not ask the Hub.
        revision_option: where the user gave the revision, for errors.
    Raises:
        UsageError: a revision of something that has none.
        ModelError: it is neither here nor reachable.
    """
    here = find_local(name)
    if here is not None and revision is not None:
        what = "the embedded judge" if name == DEMO else "a folder"
        raise UsageError(
            f"{what} has no revisions, and {revision!r} was asked for",
            where=revision_option,
            hint="Leave it away, or give the model's name on the Hub.",
        )
    return here or pull(name, revision, local_only=local_only)


def find_local(name: str) -> Path | None:
    """The folder of a model that the user named, where it is one; None for what the Hub may have.

    Raises:
        ModelError: there is no such folder, and the Hub cannot have it either.
    """
    path = Path(name).expanduser()
    if name == DEMO:
        return EMBEDDED
    if path.is_dir():
        return path
    if path.is_file():
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
        return here
    try:
        return pull(name, revision, local_only=local_only, why=f"the base model that {checkpoint} names")
    except ModelError as error:
        if Path(name).is_dir():
            error.hint += (
                f" The folder {name} here is not it; for that one, put its absolute path into base_model."
            )
        raise


def find_local_base(name: str, checkpoint: Path) -> Path | None:
    """The folder of the base model that a checkpoint names, where it is one; None for what the Hub may have.

    The name comes from the checkpoint's files: it is a folder beside them, an absolute path, the embedded
    judge's backbone, or a model on the Hub, and never what happens to lie in the current folder.

    Raises:
        ModelError: there is no such folder, and the Hub cannot have it either.
    """
    if (checkpoint / name).is_dir():
        return checkpoint / name
    if name == DEMO:
        return EMBEDDED / "backbone"
    if is_local(name):
        raise ModelError(
            "there is no such folder; it is the base model that the checkpoint names",
            where=str(checkpoint / name),
            hint=f"Put it there, or correct base_model in {checkpoint}: an absolute path, or a name on the Hub.",
        )
    return None


@contextmanager
def name_load_errors(what: str, where: Path) -> Iterator[None]:
    """Turn whatever a library makes of a file that it cannot read into an error that names the file.

    Nothing but the library's own call belongs inside: a damaged file can raise anything there, and in our own
    code that would be a bug.

    Args:
        what: what is being loaded ("the tokenizer").
    Raises:
        CheckpointError: the library raised anything but an error of ours or the lack of memory.
    """
    try:
        yield
    except (YojError, MemoryError):
        raise
    except BaseException as error:
        # What panics in a library written in Rust is no Exception in Python.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"{what} cannot be loaded: {first_line(error)}", where=str(where)) from error


def first_line(error: BaseException) -> str:
    """What an error says, cut to a line; its type where it says nothing that a person could read."""
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line}" if isinstance(error, LookupError) or not line else line


def commit_of(folder: Path) -> str | None:
    """The Hub commit whose files a folder holds; None for a folder that is no snapshot of the Hub's cache."""
    return folder.name if folder.parent.name == "snapshots" else None


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: it is not there, cut off or no safetensors file.
    """
    from safetensors.torch import load_file

    with name_load_errors("the file", path):
        return load_file(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        CheckpointError: it is not there, or is no JSON object.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError("is no file", where=str(path))
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise CheckpointError("is not a JSON object", where=str(path))
    return raw


def copy_file(source: Path, folder: Path) -> None:
    """Copy a file of a model's folder into another.

    A checkpoint that was unpacked from an archive may hold links, and what they point at is none of its own:
    only the Hub's cache keeps its files behind links, in the repository's own folder.

    Raises:
        CheckpointError: the file is a link to what does not belong to the model.
    """
    own = source.parent.resolve()
    in_cache = own.parent.name == "snapshots" and own.parents[1].name.startswith("models--")
    root = own.parents[1] if in_cache else own
    if not source.resolve().is_relative_to(root):
        raise CheckpointError(
            "is a link to a file outside of the model's folder, which is not copied",
            where=str(source),
            hint="Put the file itself there.",
        )
    shutil.copyfile(source, folder / source.name)
