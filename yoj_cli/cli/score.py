"""`yoj score`: JSON Lines in, ranked tables or JSON Lines out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from yoj_cli.cli.input import check_paths
from yoj_cli.cli.look import look_at_files
from yoj_cli.cli.messages import say
from yoj_cli.cli.options import is_debugging, with_options
from yoj_cli.cli.output import open_output
from yoj_cli.cli.progress import show_loading
from yoj_cli.cli.remote import open_server
from yoj_cli.config.calibrate import AbstainConfig
from yoj_cli.config.client import ClientConfig
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.run import RunConfig
from yoj_cli.errors import ExitCode

if TYPE_CHECKING:
    from yoj_cli.run.scorer import Scorer


@with_options(
    judge=JudgeConfig,
    client=ClientConfig,
    media=InputConfig,
    output=OutputConfig,
    run=RunConfig,
    abstain=AbstainConfig,
)
def score(
    context: typer.Context,
    judge: JudgeConfig,
    client: ClientConfig,
    media: InputConfig,
    output: OutputConfig,
    run: RunConfig,
    abstain: AbstainConfig,
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
    client = client.resolved()
    if run.engine == "ray":
        client.check_no_server("--engine ray")
        from yoj_cli.cli.score_on_ray import score_on_ray

        score_on_ray(judge, media, output, run, files, limit=limit, on_error=on_error)
        return
    from yoj_cli.cli.score_run import ScoreRun
    from yoj_cli.run.targets import find_targets

    paths = check_paths(files)
    targets = find_targets(paths, output.output, run)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(open_output(replace(output, output=each.output), paths, resume=run.resume))
            for each in targets
        ]
        escalated = None
        if abstain.escalate is not None:
            config = OutputConfig(output=abstain.escalate, overwrite=output.overwrite, format="jsonl")
            escalated = stack.enter_context(open_output(config, paths))
        score_run = ScoreRun(targets, streams, media, output, run, limit, on_error, abstain, escalated)
        score_run.check()
        decode = on_error != "skip" and client.server is None
        stdin = look_at_files(paths, media, skip=not decode, limit=limit)
        scorer: Scorer
        if client.server is not None:
            scorer = stack.enter_context(open_server(context, client, judge, output, run))
        else:
            with show_loading(judge, output):
                from yoj_cli.run.scorer import open_scorer

                scorer = stack.enter_context(open_scorer(score_run.take_over(judge), run, say=say))
        is_clean = score_run.score(scorer, stdin)
        if is_debugging():
            say(scorer.describe_usage())
    if not is_clean:
        raise typer.Exit(ExitCode.SOME_FAILED)
