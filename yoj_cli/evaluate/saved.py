"""Runs on disk: DIR/NAME/run.json says what was run, verdicts.jsonl holds a line a group."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.judged import Judged, read_judged
from yoj_cli.evaluate.sets import benchmark_or_file
from yoj_cli.storage.writing import write_whole
from yoj_cli.version import __version__

RUN, VERDICTS = "run.json", "verdicts.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class SavedRun:
    """What is known of a run besides its verdicts.

    Attributes:
        name, title: of the benchmark or file.
        source: where its groups came from.
        folder: absolute; where relative media paths of the verdicts start.
        scorer: the judge's name, or the file of scores.
        reading: in which order responses were read, in words.
        judge: its description.
        limit: groups that were asked for; None for all.
        is_complete: the run reached its end.
        path: the file of verdicts.
    """

    name: str
    title: str
    source: str
    folder: str
    scorer: str
    reading: str
    judge: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    is_complete: bool = False
    path: str = ""

    @property
    def benchmark(self) -> Benchmark:
        return benchmark_or_file(self.name, self.title)

    def judged(self) -> list[Judged]:
        """All groups, in their order.

        Raises:
            InputError: see `read_judged`; or there are none.
        """
        found = list(read_judged([self.path], folder=self.folder or None))
        if not found:
            raise InputError("holds no verdicts", where=self.path)
        return found


def write_run(run: SavedRun, folder: Path) -> None:
    """Write run.json, as a whole or not at all."""
    document = {"format": FORMAT, "yoj": __version__, **asdict(run)}
    del document["path"]
    write_whole(folder / RUN, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[SavedRun]:
    """The runs in folders that `--save` wrote, or of verdict files that `yoj score` wrote.

    Raises:
        InputError: there is no such folder, nothing in it is a run, or a run.json cannot be read.
    """
    return [run for path in paths for run in _read_runs(Path(path))]


def _read_runs(path: Path) -> list[SavedRun]:
    if path.is_file():
        name = path.name.partition(".")[0] or "verdicts"
        return [
            SavedRun(
                name,
                path.name,
                str(path),
                "",
                str(path),
                "as the file says",
                is_complete=True,
                path=str(path),
            )
        ]
    if not path.is_dir():
        raise InputError("there is no such folder or file", where=str(path))
    folders = [path] if (path / RUN).is_file() else sorted(each.parent for each in path.glob(f"*/{RUN}"))
    if not folders:
        raise InputError(
            f"holds no saved run (no {RUN} in it or in a folder of it)",
            where=str(path),
            hint="Name a folder that `yoj eval … --save DIR` wrote, or a file that `yoj score` wrote.",
        )
    return [_read_run(folder) for folder in folders]


def _read_run(folder: Path) -> SavedRun:
    where = folder / RUN
    try:
        document = json.loads(where.read_text(encoding="utf-8"))
        if document.get("format") != FORMAT:
            raise InputError(
                f"was written in format {document.get('format')!r}, and this version reads {FORMAT}",
                where=str(where),
            )
        known = {name: document[name] for name in SavedRun.__dataclass_fields__ if name in document}
        run = SavedRun(**{**known, "path": str(folder / VERDICTS)})
        _check(run)
        return run
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"is no description of a run: {error}", where=str(where)) from error


def _check(run: SavedRun) -> None:
    """What somebody else may have written.

    Raises:
        ValueError: a field of another type, or a name that would lead out of a folder.
    """
    texts = [run.name, run.title, run.source, run.folder, run.scorer, run.reading]
    if not all(isinstance(text, str) for text in texts) or not isinstance(run.judge, dict):
        raise ValueError("a field is of the wrong type")
    if not run.name or run.name in (".", "..") or set(run.name) & set("/\\"):
        raise ValueError(f"{run.name!r} is no name of a set")
