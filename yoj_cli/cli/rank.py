"""`yoj rank`: one group from files and literals on the command line, one table."""

from __future__ import annotations

import os
from typing import Annotated, Any, Optional

import typer

from yoj_cli.cli.input import build_media_options, check_stdin_once, decode_argument, read_text
from yoj_cli.cli.look import look_at_media
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import Report, open_output
from yoj_cli.cli.progress import show_loading
from yoj_cli.cli.remote import open_server
from yoj_cli.config.client import ClientConfig
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import UsageError

Several = Optional[list[str]]  # noqa: UP045  (read at run time, also by Python 3.10)


@with_options(judge=JudgeConfig, client=ClientConfig, media=InputConfig, output=OutputConfig)
def rank(
    context: typer.Context,
    judge: JudgeConfig,
    client: ClientConfig,
    media: InputConfig,
    output: OutputConfig,
    image: Annotated[
        Several, typer.Option("--image", "-i", help="A picture; may be repeated.", metavar="FILE")
    ] = None,
    video: Annotated[
        Several,
        typer.Option("--video", help="A clip, or a folder of frames; may be repeated.", metavar="FILE"),
    ] = None,
    prompt: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--prompt",
            "-p",
            help="The prompt, or @FILE to read it. Default with a picture or clip: to describe it.",
            metavar="TEXT",
        ),
    ] = None,
    response: Annotated[
        Several,
        typer.Option(
            "--response", "-r", help="A file with one response, - for standard input; repeat.", metavar="FILE"
        ),
    ] = None,
    text: Annotated[
        Several, typer.Option("--text", "-t", help="A response given literally; repeat.", metavar="TEXT")
    ] = None,
) -> None:
    """Rank responses to one prompt.

    yoj rank --image img.png -r a.txt -r b.txt

    Files come before literal texts in the numbering. A line break at the end of a file is not part of the
    response.
    """
    images, videos, files = image or [], video or [], response or []
    prompt_file = prompt[1:] if prompt is not None and prompt.startswith("@") else None
    text_files = files if prompt_file is None else [prompt_file, *files]
    record = _read_record(prompt, prompt_file, images, videos, files, text or [], media.max_line_bytes)
    from yoj_cli.records.parse import parse

    group = parse(record, media_root=media.media_root, limits=media)
    with open_output(output, inputs=[*text_files, *images, *videos]) as stream:
        client = client.resolved()
        if client.server is not None:
            with open_server(context, client, judge, output) as scorer:
                verdict = scorer.judge.score_group(group, media=build_media_options(media))
                description = scorer.description
        else:
            look_at_media(group, media)
            with show_loading(judge, output):
                from yoj_cli.run.load import load_judge

                loaded = load_judge(judge)
            verdict = loaded.score_group(group, media=build_media_options(media))
            description = loaded.description
        report = Report(output, stream, description)
        report.write(verdict)
        report.end_stream()
        report.finish()


def _read_record(
    prompt: str | None,
    prompt_file: str | None,
    images: list[str],
    videos: list[str],
    files: list[str],
    literals: list[str],
    max_bytes: int,
) -> dict[str, Any]:
    """The input line that says the same as the options; files are read once all options are checked."""
    texts = [decode_argument(each, f"--text {number}") for number, each in enumerate(literals, start=1)]
    if prompt_file is not None and prompt_file != "-" and not os.path.exists(prompt_file):
        what = f"there is no file {prompt_file!r}" if prompt_file else "no file is named after the @"
        raise UsageError(
            what,
            where="--prompt",
            hint="A prompt that begins with @ itself can be given on standard input: -p @-.",
        )
    if not files and not texts:
        raise UsageError("no responses", hint="Give at least one with -r FILE or -t TEXT.")
    if prompt is None and not images and not videos:
        raise UsageError("text alone needs a prompt", hint='Give one with -p "…" or -p @FILE.')
    check_stdin_once(files if prompt_file is None else [prompt_file, *files])
    record: dict[str, Any] = {}
    if prompt is not None:
        record["prompt"] = (
            decode_argument(prompt, "--prompt") if prompt_file is None else read_text(prompt_file, max_bytes)
        )
    record |= {name: paths for name, paths in (("images", images), ("videos", videos)) if paths}
    names = ["stdin" if path == "-" else path for path in files]
    return record | {
        "responses": [*(read_text(path, max_bytes) for path in files), *texts],
        "labels": [*names, *(f"text {number}" for number in range(1, len(texts) + 1))],
    }
