"""What `yoj eval --save` and `--plot` leave behind, written as the run goes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from yoj_cli.cli.messages import say
from yoj_cli.config.evaluate import EvalConfig
from yoj_cli.errors import UsageError
from yoj_cli.evaluate.document import document_of
from yoj_cli.evaluate.evaluation import Evaluation
from yoj_cli.evaluate.inspect_log import InspectLog
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.plot import PICTURES, draw
from yoj_cli.evaluate.saved import VERDICTS, SavedRun, write_run
from yoj_cli.evaluate.sets import EvalSet
from yoj_cli.render.wording import counted
from yoj_cli.render.writers import render_json
from yoj_cli.run.result_file import open_result
from yoj_cli.storage.writing import cannot_be_written, write_whole

FIGURES, LOG = "figures.json", "inspect.eval"


class Keeper:
    """Keeps one run: a line a group at once, the rest at its end.

    Args:
        folder: of the run; None keeps nothing.
        plots: a folder for plots besides.
    """

    def __init__(
        self,
        run: SavedRun,
        folder: Path | None,
        plots: Path | None,
        stream: IO[str] | None,
        log: InspectLog | None,
    ) -> None:
        self._run, self._folder, self._plots = run, folder, plots
        self._stream, self._log = stream, log
        self.n_kept = 0

    def add(self, judged: Judged) -> None:
        if self._stream is None or self._log is None:
            return
        record = dict(judged.record)
        if judged.error is not None:
            record = {"id": judged.id, **record, "error": dict(judged.error)}
        self._stream.write(render_json(record) + "\n")
        self._stream.flush()
        self._log.add(judged)
        self.n_kept += 1

    def finish(self, evaluation: Evaluation) -> None:
        if self._plots is not None:
            draw(evaluation, self._plots)
        if self._folder is None or self._log is None:
            return
        self._log.finish(evaluation)
        figures = json.dumps(document_of([evaluation]), indent=2, ensure_ascii=False) + "\n"
        write_whole(self._folder / FIGURES, figures)
        draw(evaluation, self._folder)
        write_run(replace(self._run, is_complete=True), self._folder)


def suffix_of(scores: Path) -> str:
    """What tells the run of another model's scores apart: the name of their file, without its ending."""
    return scores.name.partition(".")[0]


def folder_of(name: str, suffix: str) -> str:
    return f"{name}.{suffix}" if suffix else name


def check_kept(
    sets: Sequence[EvalSet], scores: Sequence[Path], config: EvalConfig, *, has_judge: bool
) -> None:
    """See before anything is loaded that no run would be lost.

    Raises:
        UsageError: two runs would share a folder, or a folder holds a run and `config.overwrite` is off.
    """
    suffixes = [*([""] if has_judge else []), *map(suffix_of, scores)]
    if len(set(suffixes)) < len(suffixes):
        raise UsageError("two files of scores have the same name", where="--scores")
    if config.save is None or config.overwrite:
        return
    for each in sets:
        for suffix in suffixes:
            path = config.save / folder_of(each.name, suffix) / VERDICTS
            if os.path.isfile(path) and os.path.getsize(path):  # a name that is too long is found on writing
                raise UsageError(
                    "holds a run already",
                    where=str(path.parent),
                    hint="Give another folder, or replace the run with --overwrite.",
                )


@contextmanager
def keep_run(run: SavedRun, suffix: str, config: EvalConfig) -> Iterator[Keeper]:
    """Around a run: DIR/NAME (DIR/NAME.SUFFIX for another model's scores) is made, and its verdicts are locked.

    Raises:
        UsageError: the folder cannot be written, or holds a run and `config.overwrite` is off.
    """
    name = folder_of(run.name, suffix)
    plots = config.plot / name if config.plot is not None else None
    if config.save is None:
        yield Keeper(run, None, plots, None, None)
        return
    folder = config.save / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_written(error, folder) from error
    with open_result(folder / VERDICTS, overwrite=config.overwrite) as stream:
        write_run(run, folder)
        for name in (FIGURES, LOG, *PICTURES):
            (folder / name).unlink(missing_ok=True)  # of the run that is replaced
        with InspectLog(folder / LOG, run) as log:
            keeper = Keeper(run, folder, plots, stream, log)
            try:
                yield keeper
            except KeyboardInterrupt:
                say(f"interrupted: {counted(keeper.n_kept, 'group')} kept in {folder}")
                raise
