"""What a model's folder may hold: regular files of its own, of sizes that fit what they are.

A folder that was unpacked from an archive may hold pipes, devices and links to anywhere. What of it is opened, here
or by a library, is looked at first.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from yoj_cli.errors import CheckpointError

READ = (".json", ".safetensors", ".jinja", ".txt", ".model", ".pt", ".py")
"""Endings of what is read, by us or by transformers."""
TEMPLATES = "additional_chat_templates"
"""The one folder inside that transformers reads."""

MAX_BYTES = {".jinja": 1 << 20, ".json": 256 << 20, ".txt": 256 << 20, ".model": 256 << 20}
"""Of files that are read whole; the largest tokenizers have 35 MB."""


def check_contents(folder: Path) -> None:
    """Refuse a folder with a file that is none, is a link to what is not its own, or is far too large.

    Raises:
        CheckpointError: naming the file.
    """
    roots = own_roots(folder)
    try:
        for path in _files(folder):
            check_own(path, roots)
            found = path.stat() if path.exists() else None
            if found is None or stat.S_ISDIR(found.st_mode):
                continue
            if not stat.S_ISREG(found.st_mode):
                raise CheckpointError("is no file", where=str(path))
            limit = MAX_BYTES.get(path.suffix)
            if limit is not None and found.st_size > limit:
                raise CheckpointError(
                    f"has {found.st_size:,} bytes, and the limit for such a file is {limit:,}",
                    where=str(path),
                )
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror}", where=str(error.filename or folder)
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / TEMPLATES):
        if place.is_dir():
            yield from sorted(path for path in place.iterdir() if path.suffix in READ)


def own_roots(folder: Path) -> tuple[Path, ...]:
    """The folders whose files are a model's own: its folder; in the Hub's cache the repository's, with its blobs."""
    own = folder.resolve()
    for snapshots in own.parents:
        if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
            return (snapshots.parent,)
    return (own,)


def check_own(path: Path, roots: tuple[Path, ...]) -> None:
    """Refuse a link to what does not belong to the model; only the Hub's cache keeps files behind links.

    Raises:
        CheckpointError: it is one.
    """
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise CheckpointError("is a link that leads in a circle", where=str(path)) from error
    if not any(target.is_relative_to(root) for root in roots):
        raise CheckpointError(
            "is a link to a file outside of the model's folder, which is not read",
            where=str(path),
            hint="Put the file itself there.",
        )
