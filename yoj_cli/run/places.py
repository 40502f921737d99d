"""Outputs and manifests of shards, here or in an object store."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from yoj_cli.errors import UsageError
from yoj_cli.records.stores import file_system, is_store, reading
from yoj_cli.run.manifest import ENDING, Manifest, parse_manifest, path_of, render_manifest, write_manifest
from yoj_cli.run.targets import shard_name


def shard_path(output: str, shard: int, n_shards: int) -> str:
    """See `shard_name`; an address stays one."""
    folder, slash, name = output.rpartition("/")
    return f"{folder}{slash}{shard_name(Path(name), shard, n_shards)}"


def read_shard_manifest(path: str) -> Manifest | None:
    """The manifest beside an output; None where there is none.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    system, name = file_system(path + ENDING)
    with reading(path + ENDING):
        content = system.cat_file(name) if system.exists(name) else None
    return None if content is None else parse_manifest(content, where=path + ENDING)


def publish(local: Path, path: str, manifest: Manifest) -> None:
    """Give a finished output its place, and then its manifest: a manifest is seen only beside a whole output.

    Args:
        local: the output, in a temporary folder of this machine; gone afterwards.
    Raises:
        UsageError: it cannot be written.
    """
    system, name = file_system(path)
    aside = f"{name}.{os.getpid()}.tmp"
    try:
        if is_store(path):  # where an object appears as a whole or not at all
            system.put_file(str(local), name)
            system.pipe_file(name + ENDING, render_manifest(manifest).encode())
        else:
            system.put_file(str(local), aside)
            os.replace(aside, name)
            write_manifest(path_of(Path(name)), manifest)
    except Exception as error:  # stores raise errors of many kinds of their own
        raise UsageError(f"cannot be written ({error or type(error).__name__})", where=path) from error
    finally:
        local.unlink(missing_ok=True)
        if not is_store(path):
            with suppress(OSError):
                os.unlink(aside)
