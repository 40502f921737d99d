"""The folder of a run: whether a new run may begin there, and the saved state that one goes on from."""

from __future__ import annotations

import json
import os
from pathlib import Path

from yoj_cli.errors import ModelError, UsageError, first_few
from yoj_cli.storage.names import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    ADDED_ROWS,
    HEAD_SAFE,
    PROCESSOR_FILES,
    REWARD_CONFIG,
)
from yoj_cli.train.card import CARD
from yoj_cli.train.curves import CURVES
from yoj_cli.train.metrics import METRICS
from yoj_cli.train.recipe import DATA, FINGERPRINT, RECIPE

TRAINER_STATE = "trainer_state.json"
OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"
NEW_FOLDER = "Give a new folder with -o."

WRITTEN = (
    *(CARD, DATA, RECIPE, METRICS, CURVES),
    *(ADAPTER_CONFIG, ADAPTER_WEIGHTS, HEAD_SAFE, ADDED_ROWS, *PROCESSOR_FILES),
)
"""What a run writes into its folder."""


def check_output(out: Path) -> None:
    """Refuse a folder that a checkpoint cannot be written to, or that holds others' files; nothing is made yet.

    Raises:
        UsageError: there is a checkpoint in it, or files that a run would replace; it is no folder, or it cannot be
            made or written.
    """
    try:
        if out.is_file() or (out / REWARD_CONFIG).is_file():
            raise UsageError("exists already", where=str(out), hint=NEW_FOLDER)
        place = out.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            is_out = place == out.absolute()
            what = "is no folder" if is_out else f"cannot be made: {place} is no folder"
            raise UsageError(what, where=str(out), hint=NEW_FOLDER)
        others = [name for name in WRITTEN if os.path.lexists(out / name)]
        if others and not _holds_run(out):
            raise UsageError(
                f"holds files that are no run's and would be written over: {first_few(others)}",
                where=str(out),
                hint=NEW_FOLDER,
            )
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(out)) from error
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"cannot be written ({place} takes no new files)", where=str(out))


def _holds_run(out: Path) -> bool:
    """Whether a run began in this folder; what it left may be replaced by the next."""
    from transformers.trainer_utils import get_last_checkpoint

    if out.is_dir() and get_last_checkpoint(str(out)):
        return True
    try:
        began = json.loads((out / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(began, dict) and FINGERPRINT in began


def find_state(out: Path, resume: bool | Path) -> Path | None:
    """The saved state that is to be resumed; None for a fresh start.

    Raises:
        UsageError: there is one and it is not to be resumed, or the other way round.
        ModelError: its files are not whole.
    """
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(out)) if out.is_dir() else None
    if isinstance(resume, Path):
        if not ((resume / TRAINER_STATE).is_file() and resume.name.rpartition("-")[2].isdigit()):
            raise UsageError(
                "is no saved state of a training",
                where=str(resume),
                hint="Name a folder that a run saved, such as my-judge/checkpoint-40.",
            )
        if last and Path(last).resolve() != resume.resolve():
            raise UsageError(
                f"holds another state ({Path(last).name}) than the one to go on from",
                where=str(out),
                hint=f"{NEW_FOLDER[:-1]}: the state is read where it is, and stays as it is.",
            )
        check_state(resume)
        return resume
    if last and not resume:
        raise UsageError(
            f"holds a run that was interrupted ({Path(last).name})",
            where=str(out),
            hint="Go on with --resume, or give a new folder with -o.",
        )
    if resume and not last:
        raise UsageError(
            "there is no saved state to resume",
            where=str(out),
            hint="Drop --resume, or name a state of another folder with --resume-from.",
        )
    if last:
        check_state(Path(last))
    return Path(last) if last else None


def check_state(state: Path) -> None:
    """See that a saved state is whole: the Trainer would go on without what is missing, and train something else.

    Raises:
        ModelError: a file is missing or damaged.
    """
    import torch

    hint = "Go on from an earlier state with --resume-from and a new folder as -o, or start a new run."
    needed = (TRAINER_STATE, OPTIMIZER, SCHEDULER, ADAPTER_WEIGHTS, HEAD_SAFE)
    missing = [name for name in needed if not (state / name).is_file()]
    if not missing and not any(state.glob("rng_state*.pth")):
        missing = ["rng_state.pth"]
    if missing:
        raise ModelError(f"the saved state lacks {', '.join(missing)}", where=str(state), hint=hint)
    name = TRAINER_STATE
    try:
        json.loads((state / TRAINER_STATE).read_text(encoding="utf-8"))
        for name in (OPTIMIZER, SCHEDULER):
            torch.load(state / name, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # what torch says of a damaged file has no class of its own
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"the saved state is damaged ({why})", where=str(state / name), hint=hint) from error
