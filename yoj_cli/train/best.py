"""The state that evaluated best: kept beside the run, and when there is no better one any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import wait_for_everyone
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import ModelError
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.trainer import CANNOT_WRITE

LOWER_IS_BETTER = {"loss", "flipped"}


def best_step(config: TrainConfig, lines: Iterable[Mapping[str, float]]) -> tuple[int, int]:
    """The step that evaluated best, the first of equal ones, and how many evaluations came after it.

    The state before the first step does not count: it is no trained judge.

    Args:
        lines: of metrics.jsonl.
    Returns:
        (0, 0) where there was none, or none is kept.
    """
    if config.keep_best is None:
        return 0, 0
    name, sign = f"eval_{config.keep_best}", -1 if config.keep_best in LOWER_IS_BETTER else 1
    values = {int(line["step"]): sign * line[name] for line in lines if name in line and line["step"] > 0}
    if not values:
        return 0, 0
    best = max(values, key=lambda step: (values[step], -step))
    return best, sum(step > best for step in values)


class BestCallback(TrainerCallback):  # type: ignore[misc]
    """Saves a state that evaluated better than all before, and stops when that has not happened for long enough.

    Args:
        metrics: metrics.jsonl, which is written before this is called, also by a run that was resumed.
        save: writes a checkpoint to a folder.
    """

    def __init__(self, config: TrainConfig, metrics: Path, save: Callable[[Path], None]) -> None:
        self._config, self._metrics, self._save = config, metrics, save
        self.has_stopped = False

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self._config.keep_best is None or state.global_step == 0:
            return control
        wait_for_everyone()  # one process writes metrics.jsonl, and all have to read the same in it
        lines = read_metrics(self._metrics)
        step, n_since = best_step(self._config, lines)
        if step == state.global_step and state.is_world_process_zero:
            self._save_or_say(best_folder(self._metrics.parent, step))
            self._forget_others(step, lines)
        if self._config.early_stopping and n_since >= self._config.early_stopping:
            self.has_stopped = control.should_training_stop = True
        return control

    def _save_or_say(self, folder: Path) -> None:
        try:
            self._save(folder)
        except CANNOT_WRITE as error:
            raise ModelError(
                f"the best state cannot be saved ({str(error).splitlines()[0]})",
                where=str(folder),
                hint="Make room; --resume goes on from the last saved state, where there is one.",
            ) from error

    def _forget_others(self, step: int, lines: Sequence[Mapping[str, float]]) -> None:
        """Remove the states that are the best no more, not even of a run that goes on from a saved state."""
        out = self._metrics.parent
        saved = [int(each.name.rpartition("-")[2]) for each in out.glob("checkpoint-*")]
        before = {best_step(self._config, [x for x in lines if x["step"] <= each])[0] for each in saved}
        kept = {best_folder(out, each) for each in (step, *before)}
        for other in set(out.glob("best-*")) - kept:
            shutil.rmtree(other, ignore_errors=True)


def best_folder(out: Path, step: int) -> Path:
    """Where the state of that step is kept."""
    return out / f"best-{step}"
