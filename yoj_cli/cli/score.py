"""`yoj score`: JSON Lines in, ranked tables or JSON Lines out."""

from __future__ import annotations

import os
from typing import Annotated, Literal, Optional

import typer

from yoj_cli.cli.input import build_media_options, check_paths, read_files
from yoj_cli.cli.look import look_at_files, stopped_by
from yoj_cli.cli.messages import say
from yoj_cli.cli.options import is_debugging, with_options
from yoj_cli.cli.output import Report, open_output
from yoj_cli.cli.progress import count_lines, show_loading, show_progress
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import ExitCode


@with_options(judge=JudgeConfig, media=InputConfig, output=OutputConfig)
def score(
    judge: JudgeConfig,
    media: InputConfig,
    output: OutputConfig,
    files: Annotated[
        Optional[list[str]],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(
            help="JSON Lines files, - for standard input (also without any FILE, where it is piped).",
            metavar="FILE",
        ),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Score the first K groups only.", metavar="K", min=1),
    ] = None,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="At a group that cannot be scored: stop, or report it and go on."),
    ] = "stop",
) -> None:
    """Score groups of responses from JSON Lines.

    Each line holds a prompt, its pictures or clip, and the candidate responses:

    {"prompt": "...", "image": "a.png", "responses": ["...", "..."]}

    Also read: "messages", "chosen"/"rejected", "candidates", "question", "images", "video",
    "rankings" (1 = best), "ratings" (higher is better).
    Relative media paths start from the file's own folder. All other fields are passed through.
    """
    paths = check_paths(files)
    with open_output(output, inputs=paths) as stream:
        stdin = look_at_files(paths, media, skip=on_error == "skip", limit=limit)
        with show_loading(judge, output):
            from yoj_cli.groups import Failure
            from yoj_cli.scoring.judge import Judge

            loaded = Judge.from_config(judge)
        report = Report(output, stream, loaded.description)
        results = loaded.score_groups(
            read_files(paths, media, stdin, limit=limit),
            media=build_media_options(media),
            live=any(path == "-" or not os.path.isfile(path) for path in paths),
        )
        try:
            for item in show_progress(results, paths, limit, output, pause=stream.isatty()):
                if not isinstance(item, Failure):
                    report.write(item)
                elif on_error == "skip":
                    report.write_failure(item)
                else:
                    raise stopped_by(item.error)
        except KeyboardInterrupt:
            report.interrupted(count_lines(paths, limit))
            raise
        report.finish()
        if is_debugging():
            say(loaded.engine.describe_usage())
    if report.summary.n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
