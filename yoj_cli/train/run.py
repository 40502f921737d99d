"""A training run: what `prepare` has checked is trained and evaluated, and what was done is written down."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from yoj_cli.model.allocator import ACTIVATIONS, give_back_large_blocks
from yoj_cli.storage.writing import cannot_be_written, lock
from yoj_cli.train.best import BestCallback, best_step
from yoj_cli.train.callbacks import MetricsLog, SaveEvalCallback, catch_interrupt
from yoj_cli.train.finish import describe_run, save_state, write_checkpoint
from yoj_cli.train.metrics import METRICS, read_metrics
from yoj_cli.train.model import build_sequences, load_model
from yoj_cli.train.prepare import Run
from yoj_cli.train.progress import warnings_at_end
from yoj_cli.train.recipe import EVAL_FINGERPRINT, FINGERPRINT, publish, write_data, write_recipe
from yoj_cli.train.starting_point import base_name
from yoj_cli.train.trainer import GroupTrainer, build_arguments


def train(
    run: Run,
    *,
    report: Callable[[Mapping[str, float], int], None] = lambda line, n_steps: None,
    say: Callable[[str], None] = lambda text: None,
) -> bool:
    """Train an adapter and a value head, and write them to the run's folder as a checkpoint.

    Args:
        report: called with each line of metrics.jsonl and the number of steps in all.
        say: called with messages for a person.
    Returns:
        Whether the run is finished; False when it was interrupted, its state saved.
    Raises:
        UsageError: another process trains to this folder, or it cannot be written.
        ModelError: the base model cannot be used, or the loss is no number.
        DeviceError: no device to train on, or it is too small.
    """
    if os.environ.get("RANK", "0") != "0":  # of several processes (torchrun), one writes
        return _train(run, report, say)
    try:
        run.out.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_written(error, run.out) from error
    with lock(run.out, what="folder"):
        return _train(run, report, say)


def _train(run: Run, report: Callable[[Mapping[str, float], int], None], say: Callable[[str], None]) -> bool:
    from transformers import set_seed

    started = time.perf_counter()
    config, out = run.config, run.out
    if config.wandb_project:
        os.environ["WANDB_PROJECT"] = config.wandb_project  # how transformers' callback is told
    set_seed(config.seed)
    if config.gradient_checkpointing:
        give_back_large_blocks(ACTIVATIONS)  # what is recomputed to save memory has to be given back
    model = load_model(config, run.base)
    backbone = model.backbone
    arguments = build_arguments(config, out, backbone.dtype, is_cpu=backbone.device.type == "cpu")
    if arguments.should_save and not (run.resume and _is_in(run.resume, out)):
        _begin(run)
    with catch_interrupt(say) as interrupt:
        save_eval, log = (
            SaveEvalCallback(config, interrupt),
            MetricsLog(out / METRICS, report, config.batch_size),
        )
        best = BestCallback(
            config, out / METRICS, lambda folder: save_state(model, folder, base_name(config, folder))
        )
        trainer = GroupTrainer(
            model,
            arguments,
            config,
            builder=build_sequences(config, backbone),
            held_out_builder=build_sequences(config, backbone, held_out=True),
            groups=run.train_report.groups,
            held_out=run.eval_report.groups if run.eval_report else [],
            media=run.media,
            callbacks=[save_eval, log, best],
        )
        save_eval.trainer = log.trainer = trainer
        arguments.eval_on_start = _is_evaluated_first(run)
        try:
            trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
        finally:
            trainer.examples.close()
    finished = best.has_stopped or bool(trainer.state.global_step >= trainer.state.max_steps)
    if arguments.should_save:
        if best.has_stopped:
            say(
                f"stopped at step {trainer.state.global_step}: {config.early_stopping} evaluations in a row without a "
                "better one"
            )
        if finished:
            write_checkpoint(run, model)
            lines = read_metrics(out / METRICS)
            kept = best_step(config, lines)[0] or None
            if kept is not None:
                say(f"the judge is the state of step {kept}, which evaluated best by {config.keep_best}")
            for warning in warnings_at_end(lines, config.batch_size, kept):
                say(f"warning: {warning}")
        describe_run(run, time.perf_counter() - started, finished=finished)
    return finished


def _is_evaluated_first(run: Run) -> bool:
    """Whether held-out groups are scored before the first step of this session.

    They are at a fresh start, and where the last session ended between an epoch and its evaluation.
    """
    if run.eval_report is None or run.resume is None:
        return run.eval_report is not None
    step = int(run.resume.name.rpartition("-")[2])
    is_done = any(
        line["step"] == step and "eval_loss" in line for line in read_metrics(run.resume.parent / METRICS)
    )
    is_epoch_end = step % (run.n_steps // run.config.epochs) == 0 and not run.config.eval_every
    return not is_done and (is_epoch_end or step == run.n_steps)


def _is_in(state: Path, out: Path) -> bool:
    return state.resolve().parent == out.resolve()


def _begin(run: Run) -> None:
    """Make the folder, with the recipe, what the data are, and the metrics of a run elsewhere that it goes on with."""
    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / METRICS).unlink(missing_ok=True)  # of an attempt that ended before it saved a state
    for left in run.out.glob("best-*"):
        shutil.rmtree(left, ignore_errors=True)
    if run.resume and (run.resume.parent / METRICS).is_file():
        shutil.copyfile(run.resume.parent / METRICS, run.out / METRICS)
        for best in run.resume.parent.glob("best-*"):
            shutil.copytree(best, run.out / best.name)
    write_recipe(run.out, run.recipe, run.data, run.held_out, run.also)
    write_data(
        run.out,
        {
            "recipe": publish(run.config, run.out),
            FINGERPRINT: run.train_report.fingerprint,
            EVAL_FINGERPRINT: run.eval_report and run.eval_report.fingerprint,
            "train": run.train_report.counts(),
            "eval": run.eval_report.counts() if run.eval_report else None,
            "eval_groups_also_in_train": run.n_shared,
        },
    )
