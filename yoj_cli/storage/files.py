"""A model's small files: read, written, copied; and folders that appear whole.

A checkpoint may come from a stranger. Whatever its files hold, reading them ends in what they say or in an error
that names the file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoj_cli.errors import CheckpointError, UsageError, YojError
from yoj_cli.storage.contents import check_own, own_roots
from yoj_cli.storage.writing import aside_of, cannot_be_written, lock

if TYPE_CHECKING:
    from torch import Tensor


MAX_JSON_BYTES = 64 << 20
"""Of a configuration or an index; the index of a model of 100,000 weights has 10 MB."""


@contextmanager
def translate_load_errors(what: str, where: Path | str) -> Iterator[None]:
    """Turn whatever a library raises for a file that it cannot read into an error that names the file.

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
        if not is_failure(error):
            raise
        raise CheckpointError(f"{what} cannot be loaded: {first_line(error)}", where=str(where)) from error


def is_failure(error: BaseException) -> bool:
    """Whether a library failed, and nobody asked to stop; what panics in Rust is no Exception in Python."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type where there is none that a person could read."""
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line}" if isinstance(error, LookupError) or not line else line


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: it is not there, cut off or no safetensors file.
    """
    from safetensors.torch import load_file

    with translate_load_errors("the file", path):
        return load_file(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint.

    Raises:
        CheckpointError: it is not there, or is no JSON object.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise CheckpointError("is no file", where=str(path))
    if path.exists() and path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointError(
            f"has {path.stat().st_size:,} bytes, and the limit is {MAX_JSON_BYTES:,}", where=str(path)
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(raw, dict):
        raise CheckpointError("is not a JSON object", where=str(path))
    return raw


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def copy_file(source: Path, folder: Path) -> None:
    """Copy a file of a model's folder into another.

    A checkpoint that was unpacked from an archive may hold links, and what they point at is none of its own:
    only the Hub's cache keeps its files behind links, in the repository's own folder.

    Raises:
        CheckpointError: the file is a link to what does not belong to the model.
    """
    check_own(source, own_roots(source.parent))
    shutil.copyfile(source, folder / source.name)


def check_new_folder(folder: Path) -> None:
    """Refuse to write into what is there already.

    Raises:
        UsageError: the path is a file, or a folder with something in it, or cannot be one.
    """
    try:
        is_there = folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    except OSError as error:
        raise cannot_be_written(error, folder) from error
    if is_there:
        raise UsageError("exists already", where=str(folder), hint="Give a new folder with -o.")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name when all is written, and is deleted if anything goes wrong.

    Raises:
        UsageError: there is something of that name, another process writes it, or it cannot be written.
    """
    from safetensors import SafetensorError

    check_new_folder(folder)
    folder = folder.absolute()
    aside = aside_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock(folder, what="folder"):
            aside.mkdir()
            try:
                yield aside
                share(aside)
                check_new_folder(folder)
                aside.replace(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot be written ({why})", where=str(folder)) from error


def share(folder: Path) -> None:
    """Give weights the permissions of any new file; safetensors lets only their owner read them."""
    plain = folder / ".plain"
    plain.touch()
    mode = plain.stat().st_mode
    plain.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
