"""What a run writes at its end: the checkpoint, the curves and the model card."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path

from yoj_cli.config.recipes import against_official
from yoj_cli.errors import ModelError
from yoj_cli.model.family import family_of
from yoj_cli.storage.files import read_json
from yoj_cli.storage.names import MODEL_CONFIG, REWARD_CONFIG
from yoj_cli.train.best import best_folder, best_step
from yoj_cli.train.card import write_card
from yoj_cli.train.card_facts import CardFacts
from yoj_cli.train.curves import CURVES, draw_curves
from yoj_cli.train.metrics import METRICS, read_metrics
from yoj_cli.train.model import RewardModel
from yoj_cli.train.prepare import Run
from yoj_cli.train.progress import warnings_at_end
from yoj_cli.train.recipe import publish
from yoj_cli.train.starting_point import base_name
from yoj_cli.train.trainer import CANNOT_WRITE, UNFINISHED
from yoj_cli.version import __version__


def write_checkpoint(run: Run, model: RewardModel) -> None:
    """Write the checkpoint aside and move its files in, last the one by which a folder is known as a checkpoint.

    Raises:
        ModelError: the disk is full, say.
    """
    aside = run.out / UNFINISHED
    step, _ = best_step(run.config, read_metrics(run.out / METRICS))
    if step:
        model.restore(best_folder(run.out, step))
    try:
        save_state(model, aside, base_name(run.config, run.out))
        for path in sorted(aside.iterdir(), key=lambda path: path.name == REWARD_CONFIG):
            os.replace(path, run.out / path.name)
        aside.rmdir()
        for best in run.out.glob("best-*"):
            shutil.rmtree(best, ignore_errors=True)
    except CANNOT_WRITE as error:
        raise ModelError(
            f"the checkpoint cannot be written ({str(error).splitlines()[0]})",
            where=str(run.out),
            hint="Make room and go on with --resume.",
        ) from error


def save_state(model: RewardModel, folder: Path, base: str) -> None:
    """Write a checkpoint to a new folder; one that was left behind is replaced.

    Raises:
        OSError: the disk is full, say.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model.save(folder, base)


def describe_run(run: Run, seconds: float, *, finished: bool) -> None:
    """Draw the curves and, for a finished run, write the model card.

    Args:
        seconds: wall time of this session of the training.
    """
    metrics = read_metrics(run.out / METRICS)
    draw_curves(run.out / METRICS, run.out / CURVES, title=run.name)
    kept = best_step(run.config, metrics)[0] or None
    if finished:
        write_card(
            run.out,
            CardFacts(
                name=run.name,
                base_model=base_name(run.config, run.out),
                reads_media=_reads_media(run),
                recipe=publish(run.config, run.out),
                data=run.train_report.counts(),
                evaluations=[line for line in metrics if "eval_loss" in line],
                curves=CURVES,
                versions=_versions(),
                seconds=seconds,
                mode=run.config.mode,
                loss=run.config.resolved_loss,
                against_official=against_official(run.config),
                went_on_from=publish(run.config, run.out).get("init_from"),
                from_judge=run.from_judge,
                n_shared=run.n_shared,
                best_by=run.config.keep_best,
                best_step=kept,
                warnings=warnings_at_end(metrics, run.config.batch_size, kept),
            ),
        )


def _reads_media(run: Run) -> bool:
    return family_of(read_json(run.base / MODEL_CONFIG)["model_type"]).reads_media


def _versions() -> dict[str, str]:
    return {"yoj-cli": __version__} | {
        name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")
    }
