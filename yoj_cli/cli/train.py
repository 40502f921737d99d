"""`yoj train`: rankings in, a checkpoint out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yoj_cli.cli.options import with_options
from yoj_cli.config import TrainConfig

if TYPE_CHECKING:
    from yoj_cli.train import Progress


@with_options(config=TrainConfig)
def train(
    config: TrainConfig,
    data: Annotated[list[Path], typer.Argument(help="JSON Lines files with rankings.", metavar="DATA")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.", metavar="DIR")],
) -> None:
    """Train a judge: LoRA and a value head on a frozen 4-bit backbone, cross-entropy over N scores."""
    from yoj_cli.train import train as run

    run(data, out, config, report=_print_step)


def _print_step(progress: Progress) -> None:
    sys.stderr.write(
        f"step {progress.step}/{progress.n_steps}"
        f"  loss {progress.loss:.4f}  best of N {progress.accuracy:.3f}\n"
    )
