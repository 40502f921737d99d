"""The recipe of a run, written beside its result: what it was told, and what it was told it on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import UsageError
from yoj_cli.storage.files import write_json
from yoj_cli.storage.writing import write_whole
from yoj_cli.train.starting_point import with_full_paths, without_paths
from yoj_cli.train.validate import DataReport

RECIPE = "recipe.toml"
DATA = "data.json"
FINGERPRINT, EVAL_FINGERPRINT = "fingerprint", "eval_fingerprint"
FREE_TO_CHANGE = {"device", "on_long", "on_error", "check", "eval_every", "save_every", "keep", "report_to"}
FREE_TO_CHANGE |= {"micro_batch_tokens", "gradient_checkpointing", "log_every", "early_stopping"}
FREE_TO_CHANGE |= {"wandb_project", "wandb_run_name"}
"""Options that a resumed run may change: they do not change what is trained."""


def resolve(config: TrainConfig) -> dict[str, Any]:
    """Every option with the value that is used; those that are off are left out."""
    options = asdict(config) | asdict(config.design) | {"loss": config.resolved_loss}
    return {name: value for name, value in options.items() if value is not None}


def publish(config: TrainConfig, out: Path) -> dict[str, Any]:
    """`resolve` without paths of this machine: what the run's folder says of itself when it is moved or pushed."""
    return resolve(config) | without_paths(config, out)


def write_recipe(
    out: Path,
    config: TrainConfig,
    data: Sequence[Path],
    held_out: Sequence[Path],
    also: Mapping[str, object],
) -> None:
    """Write recipe.toml, which `yoj train --config` reads.

    Args:
        also: further options of the command, that are none of the recipe's.
    """
    options = (
        resolve(config)
        | with_full_paths(config)
        | dict(also)
        | {"data": [str(path.resolve()) for path in data]}
    )
    if held_out:
        options["eval"] = [str(path.resolve()) for path in held_out]
    # JSON's strings, numbers, booleans and lists are TOML's too.
    lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in options.items())
    write_whole(out / RECIPE, "# yoj train --config recipe.toml -o DIR\n" + "".join(lines))


def write_data(out: Path, counts: dict[str, Any]) -> None:
    """Write data.json: what the run trains on and is evaluated on."""
    write_json(out / DATA, counts)


def check_resume(out: Path, config: TrainConfig, train: DataReport, held_out: DataReport | None) -> None:
    """A run goes on as it began, or not at all.

    Raises:
        UsageError: the recipe or the data have changed.
    """
    try:
        began = json.loads((out / DATA).read_text(encoding="utf-8"))
        if not (isinstance(began, dict) and FINGERPRINT in began and isinstance(began.get("recipe"), dict)):
            raise ValueError("no run's")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{DATA} does not say how the run began ({error})",
            where=str(out),
            hint="Start a new run elsewhere.",
        ) from error
    now = publish(config, out)
    changed = sorted(
        f"--{name.replace('_', '-')} was {began['recipe'].get(name)}, is {now.get(name)}"
        for name in {*began["recipe"], *now} - FREE_TO_CHANGE
        if began["recipe"].get(name) != now.get(name)
    )
    if changed:
        raise UsageError(
            f"the run began with other options: {'; '.join(changed)}",
            where=str(out),
            hint=f"Give the same (`--config {out / RECIPE}`), or start a new run elsewhere.",
        )
    if began[FINGERPRINT] != train.fingerprint:
        raise UsageError(
            "the training data have changed since the run began", where=str(out), hint="Start a new run."
        )
    # An evaluation is compared with those before it (--keep-best, the card); older runs do not say on what it was.
    if began.get(EVAL_FINGERPRINT, "") not in ("", held_out and held_out.fingerprint):
        raise UsageError(
            "the held-out data have changed since the run began",
            where=str(out),
            hint="Give the same --eval, or start a new run.",
        )
