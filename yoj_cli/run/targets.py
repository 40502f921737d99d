"""Which output belongs to which inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoj_cli.config.run import RunConfig
from yoj_cli.errors import UsageError
from yoj_cli.run.manifest import ENDING, Manifest, path_of, read_manifest

PACKINGS = (".gz", ".zst")


@dataclass(frozen=True)
class Target:
    """Inputs whose results go to one place; `output` is None for standard output."""

    inputs: tuple[str, ...]
    output: Path | None


def find_targets(paths: Sequence[str], output: Path | None, config: RunConfig) -> list[Target]:
    """The outputs of a run.

    Raises:
        UsageError: options that contradict each other, or two inputs whose results would go to one file.
    """
    shard, n_shards = config.shard_of
    if config.output_dir is None:
        if output is None and (config.resume or config.shard):
            raise UsageError("needs -o FILE", where="--resume" if config.resume else "--shard")
        return [Target(tuple(paths), None if output is None else shard_name(output, shard, n_shards))]
    if output is not None:
        raise UsageError("contradicts -o", where="--output-dir")
    if "-" in paths:
        raise UsageError("standard input has no name to give to its results", where="--output-dir")
    names = [Path(path).name for path in paths]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UsageError(f"{count} of the inputs are called {name}", where="--output-dir")
    try:
        config.output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot be made ({error.strerror or error})", where=str(config.output_dir)
        ) from error
    return [
        Target((path,), shard_name(config.output_dir / name, shard, n_shards))
        for path, name in zip(paths, names, strict=True)
    ]


def shard_name(output: Path, shard: int, n_shards: int) -> Path:
    """`out.jsonl` of shard 2 of 8 is `out.2-of-8.jsonl`; a whole run keeps its name."""
    if n_shards == 1:
        return output
    packing = output.suffix if output.suffix in PACKINGS else ""
    stem = Path(output.name.removesuffix(packing))
    return output.with_name(f"{stem.stem}.{shard}-of-{n_shards}{stem.suffix}{packing}")


def find_manifest(output: Path, shard: int, n_shards: int) -> Manifest | None:
    """The manifest of an output, else that of another shard of its run; None where the run is a new one.

    Raises:
        InputError: the manifest is damaged.
    """
    if (own := read_manifest(path_of(output))) is not None or n_shards == 1:
        return own
    before, after = output.name.rsplit(f".{shard}-of-{n_shards}", 1)
    for other in range(n_shards):
        path = output.with_name(f"{before}.{other}-of-{n_shards}{after}{ENDING}")
        if (found := read_manifest(path)) is not None:
            return found
    return None
