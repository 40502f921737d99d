"""`yoj eval`: how good a judge is, on benchmarks and files; saved runs again, and two of them compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import write_blocks
from yoj_cli.config.evaluate import EvalConfig
from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from yoj_cli.render.blocks import Block


@with_options(config=EvalConfig, judge=JudgeConfig, media=InputConfig)
def evaluate(
    config: EvalConfig,
    judge: JudgeConfig,
    media: InputConfig,
    sets: Annotated[
        Optional[list[str]],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(
            help="Benchmarks by name (see --list), 'paper' for the paper's six, or JSON Lines files with rankings.",
            metavar="BENCHMARK|FILE",
        ),
    ] = None,
    scores: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            help="Another model's scores of the same groups: JSON Lines of id and scores. May be given several times; "
            "a judge is only loaded beside it where -m names one.",
            metavar="FILE",
        ),
    ] = None,
    saved: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--from",
            help="Compute everything again from a saved run (or a file of `yoj score`), without a model. May be given "
            "several times.",
            metavar="DIR",
        ),
    ] = None,
    compare: Annotated[
        Optional[tuple[Path, Path]],  # noqa: UP045
        typer.Option(help="Two saved runs on the same groups: is the second one better?", metavar="A B"),
    ] = None,
) -> None:
    """Find out how good a judge is: accuracy with intervals, calibration, order bias.

    yoj eval held-out.jsonl -m my-judge --save today

    yoj eval --compare yesterday today

    Responses are shuffled before they are read, as gold answers often have a fixed place in a file.
    """
    check_what_is_asked(config, sets, scores, saved, compare)
    if config.list:
        _show_list(config)
        return
    from yoj_cli.cli import evaluating

    n_failed = 0
    if compare:
        shown = evaluating.compare_saved(*compare)
    elif saved:
        shown = evaluating.evaluate_saved(saved, config)
    else:
        n_failed, shown = evaluating.run(sets or [], scores or [], config, judge, media)
    _show(config, *shown)
    if n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def check_what_is_asked(
    config: EvalConfig,
    sets: Sequence[str] | None,
    scores: Sequence[Path] | None,
    saved: Sequence[Path] | None,
    compare: tuple[Path, Path] | None,
) -> None:
    """Refuse a command line that asks for two things at once, or for nothing.

    Raises:
        UsageError: naming what to drop.
    """
    asked = {"--list": config.list, "--from": bool(saved), "--compare": compare is not None}
    names = [name for name, is_asked in asked.items() if is_asked]
    if len(names) > 1:
        raise UsageError(f"{names[0]} and {names[1]} are two different things: give one")
    if names and (sets or scores or config.save):
        given = "a benchmark or file" if sets else "--scores" if scores else "--save"
        raise UsageError(f"{names[0]} scores nothing: drop {given}")
    if not names and not sets:
        raise UsageError(
            "nothing to evaluate on",
            hint="Name a benchmark or a JSON Lines file with rankings; `yoj eval --list` shows the benchmarks.",
        )
    if config.plot is not None and (config.list or compare):
        raise UsageError("draws one run's figures: give a benchmark, a file or --from", where="--plot")


def _show_list(config: EvalConfig) -> None:
    from yoj_cli.evaluate.listing import describe_benchmarks, list_benchmarks

    found = list_benchmarks()
    _show(config, describe_benchmarks(found), {"benchmarks": found})


def _show(config: EvalConfig, blocks: Sequence[Block], document: dict[str, Any]) -> None:
    """Print the figures, in the form that was asked for."""
    write_blocks(blocks, document, as_json=config.json, markdown=config.format == "markdown")
    for folder in (config.save, config.plot):
        if folder is not None and not config.quiet:
            say(f"written: {folder}")
