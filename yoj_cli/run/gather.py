"""Outputs of a run's shards, or of several inputs, joined into one: every line once, in the order of the input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from yoj_cli.errors import InputError, UsageError, first_few
from yoj_cli.records.lines import open_lines
from yoj_cli.records.selection import BLOCK
from yoj_cli.records.stores import file_system, reading
from yoj_cli.run.manifest import ENDING, InputFile, Manifest
from yoj_cli.run.places import read_shard_manifest


@dataclass(frozen=True)
class Gathering:
    """Outputs that have been found to belong together.

    Attributes:
        runs: for each set of inputs, in the order given, its shards from 0 on.
        manifest: what the joined output will be.
    """

    runs: tuple[tuple[str, ...], ...]
    manifest: Manifest

    def lines(self) -> Iterator[bytes]:
        """All lines, as they are.

        Raises:
            InputError: a file does not hold what its manifest says.
        """
        for shards in self.runs:
            yield from _interleaved(shards)


def find_parts(paths: Iterable[str]) -> Gathering:
    """See that outputs can be joined.

    Args:
        paths: outputs; manifests among them (`out.*` matches both) are no outputs and are passed over.
    Raises:
        InputError: one is not finished, is damaged, or has no manifest.
        UsageError: they are not of one run, one is there twice, or one is missing.
    """
    outputs = [path for path in paths if not path.endswith(ENDING)]
    if not outputs:
        raise UsageError("there are manifests alone, and no results", where="FILE")
    manifests = {output: _read_finished(output) for output in outputs}
    if len(manifests) < len(outputs):
        raise UsageError("the same file is named twice", where="FILE")
    first = manifests[outputs[0]]
    runs: dict[tuple[InputFile, ...], dict[int, str]] = {}
    for output, manifest in manifests.items():
        first.check_same_run(
            replace(manifest, inputs=first.inputs),
            where=outputs[0],
            hint=f"{output} cannot be joined with it.",
        )
        shards = runs.setdefault(tuple(replace(each, path="") for each in manifest.inputs), {})
        if (other := shards.setdefault(manifest.shard, output)) is not output:
            raise UsageError(f"is shard {manifest.shard}/{manifest.n_shards}, as is {other}", where=output)
        if manifest.n_shards != first.n_shards:
            raise UsageError(
                f"is one of {manifest.n_shards} shards, and {outputs[0]} one of {first.n_shards}",
                where=output,
            )
    for shards in runs.values():
        missing = [f"{each}/{first.n_shards}" for each in range(first.n_shards) if each not in shards]
        if missing:
            raise UsageError(
                f"shards are missing: {first_few(missing, 10)}",
                where=next(iter(shards.values())),
                hint="Score them with --shard, then gather all.",
            )
    ordered = tuple(tuple(shards[each] for each in range(first.n_shards)) for shards in runs.values())
    return Gathering(ordered, _joined([[manifests[each] for each in shards] for shards in ordered]))


def _read_finished(output: str) -> Manifest:
    manifest = read_shard_manifest(output)
    if manifest is None:
        raise InputError(
            f"has no {output.rpartition('/')[2]}{ENDING} that says what it is",
            where=output,
            hint="`yoj score -o FILE` writes one beside FILE: keep the two together.",
        )
    if not manifest.finished:
        raise InputError(
            f"is not finished: {manifest.n_done:,} groups are done",
            where=output,
            hint="Finish it with the command that began it and --resume.",
        )
    system, name = file_system(output)
    with reading(output):
        size = system.size(name)
    if size != manifest.n_bytes:
        raise InputError(
            f"has {size:,} bytes, and its manifest says {manifest.n_bytes:,}: it was changed or cut off",
            where=output,
        )
    return manifest


def _joined(runs: Sequence[Sequence[Manifest]]) -> Manifest:
    """The manifest of all runs together, but for the size of the output."""
    parts = [manifest for shards in runs for manifest in shards]
    return replace(
        parts[0],
        inputs=tuple(each for shards in runs for each in shards[0].inputs),
        shard=0,
        n_shards=1,
        n_done=sum(part.n_done for part in parts),
        n_failed=sum(part.n_failed for part in parts),
        n_bytes=0,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _interleaved(shards: Sequence[str]) -> Iterator[bytes]:
    """Blocks of BLOCK lines from each in turn, as `Selection` dealt them out."""
    with ExitStack() as stack:
        files = [stack.enter_context(open_lines(path)) for path in shards]
        counts = [0] * len(files)
        while True:
            n_before = sum(counts)
            for shard, file in enumerate(files):
                for line in islice(file, BLOCK):
                    counts[shard] += 1
                    yield line
            if sum(counts) == n_before:
                break
    for path, count in zip(shards, counts, strict=True):
        expected = _read_finished(path).n_done
        if count != expected:
            raise InputError(
                f"has {count:,} lines, and its manifest says {expected:,}: it was changed", where=path
            )
