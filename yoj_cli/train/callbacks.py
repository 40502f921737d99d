"""What happens around the steps: when to save, evaluate and stop, and what is written down."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yoj_cli.config.train import TrainConfig
from yoj_cli.storage.writing import cannot_be_written
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.progress import RunningMeans
from yoj_cli.train.trainer import GroupTrainer

STEP_FIELDS = ("loss", "learning_rate", "grad_norm")


class Interrupt:
    """Whether Ctrl-C (or a scheduler's SIGTERM) has asked the run to save and stop."""

    asked = False


@contextmanager
def catch_interrupt(say: Callable[[str], None]) -> Iterator[Interrupt]:
    """Turn the first Ctrl-C or SIGTERM into a request; the second ends the program as always."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield interrupt
        return

    def ask(number: int, frame: Any) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after this step and saving; Ctrl-C again stops at once, without saving")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class SaveEvalCallback(TrainerCallback):  # type: ignore[misc]
    """When the loop logs, evaluates, saves and stops; and which epoch the data are in.

    Attributes:
        trainer: set once the trainer is made.
    """

    trainer: GroupTrainer

    def __init__(self, config: TrainConfig, interrupt: Interrupt) -> None:
        self._config, self._interrupt = config, interrupt

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.trainer.examples.epoch = int(state.epoch or 0)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self._interrupt.asked:
            self.trainer.accelerator.set_trigger()
        is_last = state.global_step >= state.max_steps
        if self._config.eval_every and state.global_step % self._config.eval_every == 0 and not is_last:
            control.should_evaluate = bool(self.trainer.held_out)
        if state.global_step % self._config.save_every == 0:
            control.should_save = True
        if self.trainer.accelerator.check_trigger():  # all processes agree on the step to stop at
            control.should_save = control.should_training_stop = True
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        is_last = state.global_step >= state.max_steps
        is_interrupted = control.should_training_stop and not is_last
        if is_last or not (is_interrupted or self._config.eval_every):
            control.should_evaluate = bool(self.trainer.held_out)
        return control


class MetricsLog(TrainerCallback):  # type: ignore[misc]
    """Writes metrics.jsonl, a line for each step and each evaluation, and reports each line.

    Attributes:
        trainer: set once the trainer is made.
    """

    trainer: GroupTrainer

    def __init__(
        self, path: Path, report: Callable[[Mapping[str, float], int], None], batch_size: int
    ) -> None:
        self._path, self._report = path, report
        self._means = RunningMeans(batch_size)
        self._started = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget the steps that a resumed run will do again."""
        before = read_metrics(self._path) if self._path.exists() else []
        kept = [line for line in before if line["step"] <= state.global_step]
        for line in kept:
            if "loss" in line:
                self._means.add(line)
        if state.is_world_process_zero:
            self._write("".join(json.dumps(line) + "\n" for line in kept), "w")
        self._started = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float],
        **_: Any,
    ) -> None:
        line: dict[str, float] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        if "eval_loss" in logs:
            line |= {name: value for name, value in logs.items() if name.startswith("eval_")}
        elif "loss" in logs:
            line |= {name: logs[name] for name in STEP_FIELDS if name in logs} | self._own()
            self._means.add(line)
            line |= dict.fromkeys(self._means.signs(state.global_step, state.max_steps), 1)
        else:
            return  # the Trainer's closing summary; the card has its own
        self._started = time.perf_counter()
        if state.is_world_process_zero:
            self._write(json.dumps(line) + "\n", "a")
            self._report(line, state.max_steps)

    def _write(self, text: str, mode: str) -> None:
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise cannot_be_written(error, self._path) from error

    def _own(self) -> dict[str, float]:
        """What the Trainer does not count: hits and tokens over all processes, and memory of this one's GPU."""
        from accelerate.utils import gather_object

        seen = gather_object(self.trainer.take_seen())
        seconds, n = time.perf_counter() - self._started, len(seen)
        own = {
            "best_of_n": sum(each.hit for each in seen) / n,
            "chance": sum(each.chance for each in seen) / n,
            "constant_loss": sum(each.constant_loss for each in seen) / n,
            "spread": sum(each.spread for each in seen) / n,
            "tokens_per_s": sum(each.n_tokens for each in seen) / seconds,
            "groups_per_s": n / seconds,
        }
        if self.trainer.limits.have_shrunk:
            own["micro_batch_tokens"] = self.trainer.limits.max_batch_tokens
        if torch.cuda.is_available() and self.trainer.args.device.type == "cuda":
            own["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
        return own
