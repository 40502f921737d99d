"""`yoj data`: a public preference set to a training file, its pictures beside it."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from yoj_cli.cli.messages import Complaints, say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import write_blocks
from yoj_cli.config.data import DataConfig
from yoj_cli.errors import ExitCode, UsageError


@with_options(config=DataConfig)
def data(
    config: DataConfig,
    name: Annotated[
        Optional[str],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(help="A set by its name (see --list).", metavar="NAME"),
    ] = None,
    decontaminate: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Drop groups whose prompt or picture is in this benchmark: its name, NAME=PATH for a local copy, "
            "'paper' for the paper's six, or a JSON Lines file. May be given several times.",
            metavar="BENCHMARK",
        ),
    ] = None,
) -> None:
    """Convert a public preference set to a training file.

    yoj data ultrafeedback -o train.jsonl --split 0.9/0.1

    Its licence is said first. Pictures go to a folder beside the file, and what was counted into data-card.json.
    """
    if config.list:
        if name is not None:
            raise UsageError(f"--list converts nothing: drop {name}")
        _show_list(config)
        return
    if name is None:
        raise UsageError("which set? name one", hint="`yoj data --list` shows them.")
    if config.output is None:
        raise UsageError("where to? give the new training file", where="-o")
    from yoj_cli.records.sets import find_set

    public_set = find_set(name)
    from yoj_cli.data.convert import convert_set

    complaints = Complaints()
    tell = (lambda text: None) if config.quiet else say
    done = convert_set(
        public_set, config.output, config, decontaminate or (), say=say, tell=tell, fail=complaints.add
    )
    complaints.finish()
    for path, n in zip(done.outputs, done.written, strict=True):
        tell(f"written: {n:,} groups in {path}")
    if done.counts.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _show_list(config: DataConfig) -> None:
    from yoj_cli.data.listing import describe_sets, list_sets

    found = list_sets()
    write_blocks(
        describe_sets(found), {"sets": found}, as_json=config.json, markdown=config.format == "markdown"
    )
