"""What is evaluated on: a benchmark by its name, or a file of ranked groups; both as a stream of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError, UsageError, YojError, errors_at
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.benchmarks import BENCHMARKS
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, best_of_n, pooled_accuracy
from yoj_cli.groups import Failure, Group
from yoj_cli.records.parse import parse, read_groups
from yoj_cli.rows.source import MEDIA_KEYS, Source, open_source

PAPER = (
    "vl-rewardbench",
    "multimodal-rewardbench",
    "mm-rlhf-rewardbench",
    "mr2bench-image",
    "videorewardbench",
    "mr2bench-video",
)
"""The six of arXiv 2604.10966, whose plain mean is the paper's Avg."""


@dataclass(frozen=True)
class EvalSet:
    """Groups to evaluate on, and how.

    Attributes:
        name: of the folder that keeps the run; no two sets of a run share it.
        source: where the groups came from, for people: a path, or a Hub id with its commit.
        folder: where relative media paths start.
        groups: reads them from the start.
    """

    name: str
    benchmark: Benchmark
    source: str
    folder: str
    groups: Callable[[], Iterator[Group | Failure]]


def find_benchmark(name: str) -> Benchmark | None:
    return next((each for each in BENCHMARKS if each.name == name), None)


def open_sets(
    names: Sequence[str],
    *,
    data: Path | None,
    limit: int | None,
    media_root: Path | None,
    limits: Limits = LIMITS,
) -> list[EvalSet]:
    """The sets that the command line names.

    Args:
        names: benchmarks and files; "paper" stands for the six.
        data: the local copy of the one benchmark, or a folder that holds one a benchmark, under its name.
        limit: groups of each that are read.
        limits: of lines and groups.
    Raises:
        UsageError: an unknown name, or `data` without a benchmark.
        InputError: a source that cannot be opened.
    """
    names = [name for given in names for name in (PAPER if given == "paper" else (given,))]
    n_benchmarks = sum(find_benchmark(name) is not None for name in names)
    if data is not None and not n_benchmarks:
        raise UsageError("is a benchmark's local copy, and none is named", where="--data")
    sets: list[EvalSet] = []
    for name in names:
        benchmark = find_benchmark(name)
        if benchmark is None:
            found = _open_file(name, limit, media_root, limits)
        else:
            copy = data if data is None or n_benchmarks == 1 else copy_of(name, data)
            found = _open_benchmark(benchmark, benchmark_source(benchmark, copy, media_root), limit, limits)
        if any(found.name == other.name for other in sets):
            raise UsageError(
                f"two sets are called {found.name!r}", where=name, hint="Evaluate them in two runs."
            )
        sets.append(found)
    return sets


def copy_of(name: str, folder: Path) -> Path:
    """The one entry of a folder that is called as a benchmark, whatever its ending.

    Raises:
        InputError: there is none, or there are several.
    """
    found = [path for path in sorted(folder.glob("*")) if path.name.partition(".")[0] == name]
    if len(found) != 1:
        what = "holds nothing" if not found else f"holds {len(found)} entries"
        raise InputError(
            f"{what} called {name}",
            where=str(folder),
            hint=f"With several benchmarks --data is a folder: {name}.parquet, {name}.jsonl, {name}/, …",
        )
    return found[0]


def file_benchmark(name: str, title: str) -> Benchmark:
    """A file of ranked groups as a benchmark: best of N, and pooled pairs."""
    return Benchmark(
        name=name,
        title=title,
        hub_id="",
        revision="",
        licence="",
        size=None,
        metric_name="best of N",
        convert=lambda row: None,
        headline=_file_headline,
    )


def benchmark_or_file(name: str, title: str) -> Benchmark:
    """The benchmark of that name, else how a file is evaluated."""
    return find_benchmark(name) or file_benchmark(name, title)


def _file_headline(judged: Sequence[Judged]) -> list[Metric]:
    return [best_of_n(judged), pooled_accuracy(judged)]


def _open_file(path: str, limit: int | None, media_root: Path | None, limits: Limits) -> EvalSet:
    if path != "-" and not Path(path).is_file():
        known = ", ".join(["paper", *(each.name for each in BENCHMARKS)])
        raise InputError(
            "is no benchmark and no file", where=path, hint=f"Name a JSON Lines file, or one of: {known}."
        )
    title = "stdin" if path == "-" else Path(path).name
    name = title.partition(".")[0] or "groups"
    return EvalSet(
        name,
        file_benchmark(name, title),
        path,
        str(media_root or Path(path).parent),
        lambda: islice(read_groups(path, media_root=media_root, limits=limits), limit),
    )


def benchmark_source(benchmark: Benchmark, data: Path | None, media: Path | None = None) -> Source:
    """Where a benchmark's rows are.

    Args:
        data: a local copy; None takes the Hub's.
        media: where its pictures and clips lie, if elsewhere.
    Raises:
        InputError: it is not there.
    """
    if data is None and not benchmark.hub_id:
        raise InputError(
            "is not on the Hub",
            where=benchmark.name,
            hint="Give a local copy: --data PATH; --list says which.",
        )
    return open_source(
        benchmark.hub_id,
        benchmark.revision,
        files=benchmark.files,
        archives=benchmark.archives,
        data=data,
        media=media,
    )


def _open_benchmark(benchmark: Benchmark, source: Source, limit: int | None, limits: Limits) -> EvalSet:
    where = f"{source.name}@{source.revision}" if source.revision else source.name
    source.data_files(benchmark.files)  # that there are any is found out before a judge is loaded
    return EvalSet(
        benchmark.name,
        benchmark,
        where,
        source.folder,
        lambda: islice(read_benchmark(benchmark, source, limits), limit),
    )


def read_benchmark(
    benchmark: Benchmark, source: Source, limits: Limits = LIMITS
) -> Iterator[Group | Failure]:
    """A benchmark's groups; a row that gives none is a Failure in its place."""
    found: Iterator[tuple[str, Record] | Failure] = _records(benchmark, source)
    if benchmark.join is not None:
        found = _joined(benchmark.join, found)
    for number, item in enumerate(found, start=1):
        if isinstance(item, Failure):
            yield item
            continue
        where, record = item
        try:
            with errors_at(where):
                kept = source.keep_media(record, where)
                yield parse(kept, where=where, default_id=str(number), folder=source.folder, limits=limits)
        except YojError as error:
            yield Failure(where, _without_bytes(record), error)


def _records(benchmark: Benchmark, source: Source) -> Iterator[tuple[str, Record] | Failure]:
    for where, row in source.rows(benchmark.files):
        try:
            with errors_at(where):
                record = benchmark.convert(row)
        except YojError as error:
            yield Failure(where, {}, error)
            continue
        if record is not None:
            yield where, record


def _joined(
    join: Callable[[Sequence[Record]], Iterator[Record]], found: Iterator[tuple[str, Record] | Failure]
) -> Iterator[tuple[str, Record] | Failure]:
    records = []
    for item in found:
        if isinstance(item, Failure):
            yield item
        else:
            records.append(item[1])
    for record in join(records):
        yield f"id {record.get('id')}", record


def _without_bytes(record: Record) -> Record:
    """What is written beside an error; pictures are not."""
    return {key: value for key, value in record.items() if key not in MEDIA_KEYS}
