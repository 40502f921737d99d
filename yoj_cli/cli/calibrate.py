"""`yoj calibrate`: makes P(best) mean what it says."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from yoj_cli.cli.input import check_paths
from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import write_blocks
from yoj_cli.config.calibrate import CalibrateConfig
from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import ExitCode, UsageError, require


@with_options(config=CalibrateConfig, judge=JudgeConfig, media=InputConfig)
def calibrate(
    config: CalibrateConfig,
    judge: JudgeConfig,
    media: InputConfig,
    files: Annotated[
        Optional[list[str]],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(
            help="JSON Lines with rankings that the judge was not trained on; - for standard input.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Fit the temperature that makes P(best) mean what it says; scores and ranks never change.

    yoj calibrate held-out.jsonl -m my-judge -o calibration.json

    yoj score candidates.jsonl -m my-judge --calibration calibration.json --abstain-below 0.6

    One temperature for each mode (one with --mode, --orders or --window), each with its error before and after on
    held-out folds. Responses are shuffled before they are read.
    """
    if judge.calibration is not None:
        raise UsageError("is fitted here, not read: drop it", where="--calibration")
    paths = check_paths(files)
    require("calibrate", "scipy", extra="eval")
    from yoj_cli.cli import calibrating

    n_failed, blocks, document, written = calibrating.run(paths, config, judge, media)
    write_blocks(blocks, document, as_json=config.json, markdown=False)
    for path in written:
        say(f"written: {path}")
    if n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
