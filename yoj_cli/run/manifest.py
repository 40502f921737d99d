"""What a run is and how far it came, in a file beside its output: `out.jsonl.manifest.json`.

Two runs may be mixed in one output only if they would give the same lines. So the manifest names all that decides
about them: the judge with the hash of its files, every setting as resolved, the inputs by their contents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError, UsageError
from yoj_cli.records.stores import is_store, open_store
from yoj_cli.storage.writing import write_whole

ENDING = ".manifest.json"
FORMAT_VERSION = 1
MAX_SHARDS = 1_000_000
MAX_COUNT = 1 << 62


@dataclass(frozen=True)
class InputFile:
    """An input by what it holds; its path is for a person."""

    path: str
    n_bytes: int
    blake2b: str


@dataclass(frozen=True)
class Manifest:
    """A run over some inputs into one output.

    Attributes:
        judge: all that changes a score, as resolved, with the hash of the judge's files as "content".
        settings: what else changes a line, such as "top" and "limit".
        inputs: in their order.
        shard, n_shards: which part of the inputs' groups; see `Selection`.
        n_done: groups whose lines are in the output, in the order of the input.
        n_failed: those of them whose line is an error.
        n_bytes: size of the output up to there; what lies behind it belongs to groups that are not done.
        finished: no group is left.
        notes: what may make a score differ by rounding from that of an undisturbed run.
    """

    judge: Mapping[str, Any]
    settings: Mapping[str, Any]
    inputs: tuple[InputFile, ...]
    shard: int = 0
    n_shards: int = 1
    n_done: int = 0
    n_failed: int = 0
    n_bytes: int = 0
    finished: bool = False
    notes: tuple[str, ...] = field(default=())

    def note(self, text: str) -> Manifest:
        return self if text in self.notes else replace(self, notes=(*self.notes, text))

    def check_same_run(self, other: Manifest, *, where: str, hint: str) -> None:
        """Refuse to mix two runs.

        Args:
            other: what would be added to this one.
            where: this one's file.
        Raises:
            UsageError: naming each setting that differs, with both its values.
        """
        found = [*_differences(self._decisive(), other._decisive())]
        if found:
            raise UsageError(
                f"belongs to another run: {'; '.join(found[:5])}{' …' if len(found) > 5 else ''}",
                where=where,
                hint=hint,
            )

    def _decisive(self) -> dict[str, Any]:
        inputs = [f"{each.n_bytes} bytes, {each.blake2b[:12]}" for each in self.inputs]
        return {"judge": self.judge, **self.settings, "inputs": inputs}


def path_of(output: Path) -> Path:
    """Beside the output; also of "/" and ".", which have no name and will be refused."""
    return output.parent / (output.name + ENDING)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in a file; None where there is no file.

    Raises:
        InputError: the file cannot be read, or holds no manifest that this version understands.
    """
    try:
        return parse_manifest(path.read_bytes(), where=str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=str(path)) from error


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """The manifest that a file holds.

    Raises:
        InputError: it is none that this version understands.
    """
    try:
        raw = json.loads(content)
        if raw["format_version"] != FORMAT_VERSION:
            raise InputError(
                f"is of format {raw['format_version']!r}; this version of yoj reads {FORMAT_VERSION}",
                where=where,
            )
        values = {key: value for key, value in raw.items() if key != "format_version"}
        inputs = tuple(InputFile(**each) for each in values.pop("inputs"))
        found = Manifest(inputs=inputs, notes=tuple(values.pop("notes")), **values)
        _check_types(found)
        return found
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise InputError(
            "is damaged, or no manifest of yoj",
            where=where,
            hint="Without it a run cannot go on: begin it anew with --overwrite.",
        ) from error


def render_manifest(manifest: Manifest) -> str:
    return json.dumps({"format_version": FORMAT_VERSION, **asdict(manifest)}, indent=2) + "\n"


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest aside and give it its name when it lies on the disk: it is whole at any moment.

    Raises:
        UsageError: it cannot be written.
    """
    write_whole(path, render_manifest(manifest))


def fingerprint(paths: Sequence[str]) -> tuple[InputFile, ...]:
    """Input files by their contents.

    Raises:
        InputError: one cannot be read.
    """
    import hashlib

    found = []
    for path in paths:
        try:
            with open_store(path) if is_store(path) else open(path, "rb") as file:
                digest, n_bytes = hashlib.blake2b(digest_size=32), 0
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    n_bytes += len(chunk)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror or error})", where=path) from error
        found.append(InputFile(path, n_bytes, digest.hexdigest()))
    return tuple(found)


def _check_types(manifest: Manifest) -> None:
    counts = [manifest.shard, manifest.n_shards, manifest.n_done, manifest.n_failed, manifest.n_bytes]
    counts += [each.n_bytes for each in manifest.inputs]
    if not all(type(count) is int and 0 <= count < MAX_COUNT for count in counts):
        raise TypeError
    if not manifest.shard < manifest.n_shards <= MAX_SHARDS or not isinstance(manifest.finished, bool):
        raise TypeError
    if not isinstance(manifest.judge, dict) or not isinstance(manifest.settings, dict):
        raise TypeError
    texts = (*manifest.notes, *(text for each in manifest.inputs for text in (each.path, each.blake2b)))
    if not all(isinstance(text, str) for text in texts):
        raise TypeError


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(key), theirs.get(key)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{prefix}{key}.")
        elif key == "inputs":
            yield "the input files are not the same, or have changed since"
        else:
            yield f"{prefix}{key} is {_shown(one)} there and {_shown(other)} here"


def _shown(value: object) -> str:
    return "not stated" if value is None else str(value)[:60]
