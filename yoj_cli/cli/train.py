"""`yoj train`: rankings in, a checkpoint out."""

from __future__ import annotations

import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Optional

import typer

from yoj_cli.cli.input import build_media_options, check_paths
from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.recipe import read_recipe, take_recipe
from yoj_cli.config.io import InputConfig
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import ExitCode, UsageError


@with_options(config=TrainConfig, media=InputConfig)
def train(
    config: TrainConfig,
    media: InputConfig,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.", metavar="DIR")],
    data: Annotated[
        Optional[list[str]],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(help="JSON Lines files with rankings or ratings.", metavar="DATA"),
    ] = None,
    held_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--eval", help="Held-out file to evaluate on; may be given often.", metavar="FILE"),
    ] = None,
    recipe: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config",
            help="Options from a TOML file, such as the recipe.toml of a run; the command line has precedence.",
            metavar="FILE",
            is_eager=True,
            callback=read_recipe,
        ),
    ] = None,
    named: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--recipe",
            help="official: what the released training script sets; --config and the command line have precedence.",
            metavar="NAME",
            is_eager=True,
            callback=take_recipe,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last state saved in --out.")
    ] = False,
    resume_from: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Go on from this saved state, such as my-judge/checkpoint-40.", metavar="DIR"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the data, print what would be done, and stop.")
    ] = False,
    push_to_hub: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Upload the finished checkpoint to this Hub repository.", metavar="OWNER/NAME"),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new Hub repository public.")] = False,
) -> None:
    """Train a judge: LoRA and a value head on a frozen 4-bit backbone, one forward pass per group.

    DATA is what `yoj score` reads, with "rankings" (1 = best, ties allowed), "ratings" (higher is better), or
    chosen/rejected pairs.
    The defaults are the paper's.
    """
    if not data:
        raise UsageError("no DATA to train on", hint="Name a JSON Lines file with rankings.")
    if public and not push_to_hub:
        raise UsageError("nothing is uploaded", where="--public", hint="Add --push-to-hub OWNER/NAME.")
    files = [Path(path) for path in _check_files(data)]
    evals = [Path(path) for path in _check_files(held_out or [])]
    from yoj_cli.cli.training import Display, render_recipe, render_run
    from yoj_cli.train.prepare import prepare
    from yoj_cli.train.run import train as run_training

    if push_to_hub:
        from yoj_cli.storage.hub import is_hub_id
        from yoj_cli.storage.push import check_push
        from yoj_cli.train.starting_point import base_name, resolve_base

        resolved = resolve_base(config)
        name = base_name(resolved, out)
        check_push(push_to_hub, name if is_hub_id(name) else resolved.base, folder=out)
    run = prepare(
        files,
        out,
        config,
        held_out=evals,
        media_root=media.media_root,
        media=build_media_options(media),
        limits=media,
        resume=resume_from or resume,
        name=push_to_hub,
        also=_given(media, push_to_hub, public),
    )
    # Of several processes (torchrun), one speaks.
    tell = say if os.environ.get("RANK", "0") == "0" else _say_nothing
    tell(render_recipe(run.config, named))
    tell(render_run(run))
    if dry_run:
        return
    if not run_training(run, report=Display(config).show, say=tell):
        recipe_path, folder = shlex.quote(str(out / "recipe.toml")), shlex.quote(str(out))
        tell(f"interrupted; go on with: yoj train --config {recipe_path} -o {folder} --resume")
        raise typer.Exit(ExitCode.INTERRUPTED)
    tell(f"trained: yoj score FILE -m {shlex.quote(str(out))}")
    if push_to_hub and tell is say:
        from yoj_cli.storage.push import push

        tell(f"pushed: {push(out, push_to_hub, private=not public)}")


def _given(media: InputConfig, push_to_hub: str | None, public: bool) -> dict[str, object]:
    """What the recipe must hold besides the training options, so that it repeats the command."""
    options = {
        "media_root": media.media_root and str(media.media_root.resolve()),
        "allow_remote_media": media.allow_remote_media,
        "allow_private_media": media.allow_private_media,
        "push_to_hub": push_to_hub,
        "public": public,
    }
    changed = {each.name: getattr(media, each.name) for each in fields(Limits)}
    changed = {name: value for name, value in changed.items() if value != getattr(LIMITS, name)}
    return {name: value for name, value in options.items() if value} | changed


def _say_nothing(text: str) -> None:
    pass


def _check_files(paths: list[str]) -> list[str]:
    if "-" in paths:
        raise UsageError(
            "training reads its data more than once, a pipe can be read once", hint="Give a file."
        )
    return check_paths(paths) if paths else []
