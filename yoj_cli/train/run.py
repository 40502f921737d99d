"""A training run from files to a checkpoint: examine everything, train, evaluate, write down what was done."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from yoj_cli.config import TrainConfig
from yoj_cli.errors import DeviceError, ModelError, UsageError
from yoj_cli.inputs.media import MediaOptions
from yoj_cli.judge.backbone import Backbone
from yoj_cli.judge.checkpoint import REWARD_CONFIG
from yoj_cli.judge.device import DTYPES
from yoj_cli.train.callbacks import MetricsLog, Rhythm, catch_interrupt
from yoj_cli.train.data import read_ranked
from yoj_cli.train.examine import DataReport, count_shared, examine
from yoj_cli.train.memory import MemoryEstimate, estimate_memory
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.model import (
    RewardModel,
    base_name,
    build_layouts,
    find_base,
    load_model,
    load_shape,
    training_device,
    training_dtype,
)
from yoj_cli.train.recipe import check_resume, resolve, write_data, write_recipe
from yoj_cli.train.trainer import CANNOT_WRITE, UNFINISHED, GroupTrainer, build_arguments

METRICS = "metrics.jsonl"
CURVES = "curves.png"


@dataclass(frozen=True)
class Run:
    """A run that has been examined and can start.

    Attributes:
        data, held_out: the files.
        out: folder of the new checkpoint.
        name: what the model card calls it: its Hub id, else the folder's name.
        base: folder of the backbone's files.
        learnt, evaluated: what the files hold; `evaluated` is None without held-out files.
        n_shared: held-out groups that are in the training data too.
        memory: None where groups were not laid out.
        n_steps: optimizer steps.
        resume: the saved state to go on from; None for a fresh start.
        also: further options of the command, written into recipe.toml.
    """

    config: TrainConfig
    data: tuple[Path, ...]
    held_out: tuple[Path, ...]
    out: Path
    name: str
    base: Path
    learnt: DataReport
    evaluated: DataReport | None
    n_shared: int
    memory: MemoryEstimate | None
    n_steps: int
    resume: Path | None
    also: Mapping[str, object]


def media_beside(config: TrainConfig) -> Callable[[Path], MediaOptions]:
    """Media paths start from the file's own folder."""
    return lambda path: MediaOptions(root=path.parent, max_frames=config.max_frames)


def prepare(
    data: Sequence[Path],
    out: Path,
    config: TrainConfig,
    *,
    held_out: Sequence[Path] = (),
    media_of: Callable[[Path], MediaOptions] | None = None,
    resume: bool = False,
    name: str | None = None,
    also: Mapping[str, object] | None = None,
) -> Run:
    """Check everything that can be checked without the backbone's weights; nothing is written.

    Args:
        data: JSON Lines files whose lines have rankings (or are chosen/rejected pairs).
        out: folder of the new checkpoint. A base model that lies inside it is referred to by its relative
            path, so that the folder can be moved as a whole.
        held_out: like `data`, to evaluate on.
        media_of: how the media of a file's groups are found; beside the file by default.
        resume: go on from the last state saved in `out`.
        name: what the model card calls the judge; the folder's name by default.
        also: further options of the command, to be written into recipe.toml.
    Raises:
        UsageError: the folder holds a checkpoint already, or none to resume.
        InputError: lines or files that cannot be used.
        ModelError: the base model is not there.
    """
    from transformers.trainer_utils import get_last_checkpoint

    check_output(out)
    check_reports(config)
    state = get_last_checkpoint(str(out)) if out.is_dir() else None
    if state and not resume:
        raise UsageError(
            f"holds a run that was interrupted ({Path(state).name})",
            where=str(out),
            hint="Go on with --resume, or give a new folder with -o.",
        )
    if resume and not state:
        raise UsageError("there is no saved state to resume", where=str(out), hint="Drop --resume.")
    base = find_base(config)
    shape = load_shape(config, base)
    builder = build_layouts(config, shape)
    media_of = media_of or media_beside(config)
    learnt = examine(read_ranked(data, media_of, config.limit), builder, config, what="DATA")
    evaluated = None
    if held_out:
        evaluated = examine(read_ranked(held_out, media_of), builder, config, what="--eval")
    if state:
        check_resume(out, config, learnt.fingerprint)
    return Run(
        config=config,
        data=tuple(data),
        held_out=tuple(held_out),
        out=out,
        name=name or out.resolve().name,
        base=base,
        learnt=learnt,
        evaluated=evaluated,
        n_shared=count_shared(learnt.sources, evaluated.sources) if evaluated else 0,
        memory=_estimate(config, base, shape, learnt.longest[0]),
        n_steps=config.epochs * math.ceil(learnt.n_groups / config.batch_size),
        resume=Path(state) if state else None,
        also=also or {},
    )


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
        ModelError: the base model cannot be used, or the loss is no number.
        DeviceError: no device to train on, or it is too small.
    """
    from transformers import set_seed

    started = time.perf_counter()
    config, out = run.config, run.out
    set_seed(config.seed)
    model = load_model(config, run.base)
    backbone = model.backbone
    arguments = build_arguments(config, out, backbone.dtype, is_cpu=backbone.device.type == "cpu")
    if arguments.should_save and not run.resume:
        _begin(run)
    with catch_interrupt(say) as interrupt:
        rhythm, log = Rhythm(config, interrupt), MetricsLog(out / METRICS, report)
        trainer = GroupTrainer(
            model,
            arguments,
            config,
            builder=build_layouts(config, backbone),
            sources=run.learnt.sources,
            held_out=run.evaluated.sources if run.evaluated else [],
            callbacks=[rhythm, log],
        )
        rhythm.trainer = log.trainer = trainer
        arguments.eval_on_start = _is_evaluated_first(run)
        try:
            trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
        finally:
            trainer.examples.close()
    finished = bool(trainer.state.global_step >= trainer.state.max_steps)
    if arguments.should_save:
        if finished:
            _write_final(run, model)
        _describe(run, time.perf_counter() - started, finished=finished)
    return finished


def _is_evaluated_first(run: Run) -> bool:
    """Whether held-out groups are scored before the first step: a fresh start, or the evaluation after an epoch
    that an interruption came before."""
    if run.evaluated is None or run.resume is None:
        return run.evaluated is not None
    step = int(run.resume.name.rpartition("-")[2])
    is_done = any(line["step"] == step and "eval_loss" in line for line in read_metrics(run.out / METRICS))
    is_epoch_end = step % (run.n_steps // run.config.epochs) == 0 and not run.config.eval_every
    return not is_done and (is_epoch_end or step == run.n_steps)


def _begin(run: Run) -> None:
    run.out.mkdir(parents=True, exist_ok=True)
    write_recipe(run.out, run.config, run.data, run.held_out, run.also)
    write_data(
        run.out,
        {
            "recipe": resolve(run.config),
            "fingerprint": run.learnt.fingerprint,
            "train": run.learnt.counts(),
            "eval": run.evaluated.counts() if run.evaluated else None,
            "eval_groups_also_in_train": run.n_shared,
        },
    )


def _write_final(run: Run, model: RewardModel) -> None:
    """Write the checkpoint aside and move it in, the file that makes it one last."""
    aside = run.out / UNFINISHED
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        model.save(aside, base_name(run.config, run.out, run.out))
        for path in sorted(aside.iterdir(), key=lambda path: path.name == REWARD_CONFIG):
            os.replace(path, run.out / path.name)
        aside.rmdir()
    except CANNOT_WRITE as error:
        raise ModelError(
            f"the checkpoint cannot be written ({str(error).splitlines()[0]})",
            where=str(run.out),
            hint="Make room and go on with --resume.",
        ) from error


def _describe(run: Run, seconds: float, *, finished: bool) -> None:
    """Draw the curves and, of a finished run, write the model card."""
    from yoj_cli.train.card import CardFacts, write_card
    from yoj_cli.train.curves import draw_curves

    metrics = read_metrics(run.out / METRICS)
    draw_curves(run.out / METRICS, run.out / CURVES, title=run.name)
    if finished:
        write_card(
            run.out,
            CardFacts(
                name=run.name,
                base_model=run.config.base,
                recipe=resolve(run.config),
                data=run.learnt.counts(),
                evaluations=[line for line in metrics if "eval_loss" in line],
                curves=CURVES,
                versions=_versions(),
                seconds=seconds,
                mode=run.config.mode,
                loss=run.config.resolved_loss,
                n_shared=run.n_shared,
            ),
        )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from yoj_cli.version import __version__

    return {"yoj-cli": __version__} | {
        name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")
    }


def _estimate(config: TrainConfig, base: Path, shape: Backbone, longest_tokens: int) -> MemoryEstimate | None:
    if not longest_tokens:
        return None
    try:
        dtype = DTYPES[training_dtype(config, training_device(config, base))]
    except DeviceError:  # a dry run where there is no GPU: estimate for one that has bfloat16
        import torch

        dtype = torch.bfloat16
    return estimate_memory(shape, config, dtype, longest_tokens)


def check_reports(config: TrainConfig) -> None:
    """Raises UsageError: a library to report to is not installed."""
    for name in config.reports:
        if find_spec(name) is None:
            raise UsageError(
                f"{name} is not installed", where="--report-to", hint=f"pip install 'yoj-cli[{name}]'"
            )


def check_output(out: Path) -> None:
    """Refuse a folder that a checkpoint cannot be written to; nothing is made yet.

    Raises:
        UsageError: there is a checkpoint in it, it is no folder, or it cannot be made or written.
    """
    try:
        if out.is_file() or (out / REWARD_CONFIG).is_file():
            raise UsageError("exists already", where=str(out), hint="Give a new folder with -o.")
        place = out.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            is_out = place == out.absolute()
            what = "is no folder" if is_out else f"cannot be made: {place} is no folder"
            raise UsageError(what, where=str(out), hint="Give a new folder with -o.")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(out)) from error
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"cannot be written ({place} takes no new files)", where=str(out))
