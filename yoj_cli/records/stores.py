"""Files that are not on this machine's disks: object stores and the Hub, by fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from yoj_cli.errors import InputError, UsageError

SCHEMES = ("s3", "gs", "gcs", "abfs", "az", "hf", "memory")
"""What is opened by fsspec. Not its chains ("zip::…") and not its other schemes: a line of a file could name them."""


def is_store(path: str) -> bool:
    """Whether a path is an address in an object store, and not a file."""
    scheme, found, rest = path.partition("://")
    return bool(found) and scheme in SCHEMES and "::" not in rest


def address_of(path: Path) -> str:
    """A path as text; an address, whose two slashes `Path` makes one, is an address again."""
    scheme, found, rest = str(path).partition(":/")
    return f"{scheme}://{rest}" if found and scheme in SCHEMES else str(path)


def file_system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path, and the path as it is called there.

    Raises:
        UsageError: the library for such addresses is not installed.
    """
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(path if is_store(path) else str(Path(path).absolute()))
    except ImportError as error:
        raise UsageError(
            f"{error}", where=path, hint="Install that library, or copy the files here."
        ) from error
    return found


@contextmanager
def open_store(path: str) -> Iterator[BinaryIO]:
    """Open a file of a store for reading.

    Raises:
        InputError: it is not there, or cannot be read; stores raise errors of many kinds of their own.
    """
    system, name = file_system(path)
    with reading(path), system.open(name, "rb") as file:
        yield cast(BinaryIO, file)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what a store raises into an error that names the file."""
    try:
        yield
    except (InputError, UsageError, GeneratorExit):
        raise
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=path) from error
    except Exception as error:
        raise InputError(f"cannot be read ({error or type(error).__name__})", where=path) from error


def find_files(paths: list[str]) -> list[str]:
    """Addresses with `*` in them as the files that they stand for, in the order of their names; others as they are.

    Raises:
        InputError: there is none.
    """
    found: list[str] = []
    for path in paths:
        if not is_store(path) or "*" not in path:
            found.append(path)
            continue
        system, name = file_system(path)
        with reading(path):
            matches = sorted(system.unstrip_protocol(each) for each in system.glob(name))
        if not matches:
            raise InputError("there is no such file", where=path)
        found += matches
    return found
