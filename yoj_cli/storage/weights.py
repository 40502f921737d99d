"""A model's weights on disk: read one at a time, written in shards.

A full-size backbone has 9 GB. Rewriting it takes the memory of one shard, and not of two models.
"""

from __future__ import annotations

import reprlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yoj_cli.errors import CheckpointError, UsageError
from yoj_cli.storage.files import read_json, translate_load_errors, write_json
from yoj_cli.storage.names import WEIGHTS, WEIGHTS_INDEX

SHARD_BYTES = 2_000_000_000
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Stored:
    """A weight in a file.

    Attributes:
        file: where it lies.
        dtype: its type as safetensors writes it ("BF16").
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        size = torch.empty((), dtype=self.torch_dtype).element_size()
        return size * int(torch.Size(self.shape).numel())

    @property
    def torch_dtype(self) -> torch.dtype:
        if self.dtype not in DTYPES:
            raise CheckpointError(
                f"has weights of type {self.dtype}; only whole ones ({', '.join(DTYPES)}) can be converted",
                where=str(self.file),
            )
        return DTYPES[self.dtype]

    def read(self, name: str) -> Tensor:
        """The weight itself."""
        from safetensors import safe_open

        with translate_load_errors("the file", self.file), safe_open(self.file, "pt") as file:
            weight: Tensor = file.get_tensor(name)
        return weight


def find_weights(folder: Path) -> dict[str, Stored]:
    """The weights of a model folder by name, in the order of its files; none is read yet.

    Raises:
        CheckpointError: there are none but pickled ones, or one of the files is missing or damaged.
    """
    from safetensors import safe_open

    found: dict[str, Stored] = {}
    for path in _weight_files(folder):
        with translate_load_errors("the weights", path), safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - no dictionary
                piece = file.get_slice(name)
                found[name] = Stored(path, tuple(piece.get_shape()), piece.get_dtype())
    return found


def _weight_files(folder: Path) -> list[Path]:
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        if not (folder / WEIGHTS).is_file() and any(folder.glob("*.bin")):
            raise CheckpointError(
                f"the weights are pickled, and only safetensors are read: there is no {WEIGHTS}",
                where=str(folder),
                hint="A pickle can run code when it is opened; convert the model where you trust it.",
            )
        return [folder / WEIGHTS]
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError("weight_map names no weights", where=str(index))
    for name in places.values():
        if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
            raise CheckpointError(
                f"weight_map names {reprlib.repr(name)}, which is no safetensors file beside it",
                where=str(index),
            )
    return [folder / name for name in sorted(set(places.values()))]


def count_parameters(folder: Path) -> int:
    """Parameters in a model folder's files, without those of a language-model head, which a judge does not load.

    Raises:
        ModelError: as `find_weights`.
    """
    return sum(
        int(torch.Size(weight.shape).numel())
        for name, weight in find_weights(folder).items()
        if not name.startswith("lm_head.")
    )


def is_stored_in(folder: Path, dtype: torch.dtype) -> bool:
    """Whether all weights are stored in a dtype, so that none need be cast to it; packed ones never are."""
    stored = {DTYPES.get(weight.dtype, dtype) for weight in find_weights(folder).values()}
    return stored <= {dtype}


def open_weights(folder: Path) -> dict[str, Any]:
    """A model folder's weights by name, each read from its file when it is indexed (`weight[...]`) and not before.

    They are read into memory of their own, not mapped.

    Raises:
        ModelError: as `find_weights`.
    """
    from safetensors import safe_open

    stored = find_weights(folder)
    files = {}
    for path in {weight.file for weight in stored.values()}:
        with translate_load_errors("the weights", path):
            files[path] = safe_open(path, "pt", backend="pread")
    return {name: files[weight.file].get_slice(name) for name, weight in stored.items()}  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Planned:
    """A weight to be written: its name and size now, its values when its shard's turn comes."""

    name: str
    n_bytes: int
    build: Callable[[], Tensor]


def write_weights(folder: Path, weights: Sequence[Planned]) -> int:
    """Write weights as transformers does: one file, or shards and their index. Returns the bytes.

    Raises:
        UsageError: the disk has no room for them.
    """
    from safetensors.torch import save_file

    n_bytes, free = sum(weight.n_bytes for weight in weights), shutil.disk_usage(folder).free
    if n_bytes > free:
        raise UsageError(
            f"no space left: {n_bytes / 1e9:.3g} GB are to be written, {free / 1e9:.3g} GB are free",
            where=str(folder.parent),
        )
    shards = list(_shards(weights))
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = WEIGHTS if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        built = {weight.name: weight.build().contiguous() for weight in shard}
        save_file(built, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(built, name)
    if len(shards) > 1:
        write_json(folder / WEIGHTS_INDEX, {"metadata": {"total_size": n_bytes}, "weight_map": index})
    return n_bytes


def _shards(weights: Sequence[Planned]) -> Iterator[list[Planned]]:
    shard: list[Planned] = []
    for weight in weights:
        if shard and sum(each.n_bytes for each in shard) + weight.n_bytes > SHARD_BYTES:
            yield shard
            shard = []
        shard.append(weight)
    yield shard
