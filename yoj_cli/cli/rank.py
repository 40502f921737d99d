"""`yoj rank`: one group from files and literals on the command line, one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import Report, open_output
from yoj_cli.config import InputConfig, JudgeConfig, OutputConfig
from yoj_cli.errors import InputError, UsageError

Paths = Optional[list[str]]  # noqa: UP045  (read at run time, also by Python 3.10)


@with_options(judge=JudgeConfig, media=InputConfig, output=OutputConfig)
def rank(
    judge: JudgeConfig,
    media: InputConfig,
    output: OutputConfig,
    image: Annotated[
        Paths, typer.Option("--image", "-i", help="A picture; may be repeated.", metavar="FILE")
    ] = None,
    video: Annotated[Paths, typer.Option("--video", help="A clip; may be repeated.", metavar="FILE")] = None,
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
        Paths,
        typer.Option(
            "--response", "-r", help="A file with one response, - for standard input; repeat.", metavar="FILE"
        ),
    ] = None,
    text: Annotated[
        Paths, typer.Option("--text", "-t", help="A response given literally; repeat.", metavar="TEXT")
    ] = None,
) -> None:
    """Rank responses to one prompt: yoj rank --image img.png -r a.txt -r b.txt

    Files come before literal texts in the numbering. One line break at the end of a file is not part of the
    response.
    """
    record = _build_record(image or [], video or [], prompt, response or [], text or [])
    from yoj_cli.inputs.media import MediaOptions
    from yoj_cli.inputs.records import parse

    group = parse(record, default_id="rank")
    from yoj_cli.judge.judge import Judge

    with open_output(output) as stream:
        loaded = Judge.from_config(judge)
        options = MediaOptions(
            confine=media.media_root, allow_remote=media.allow_remote_media, max_frames=judge.max_frames
        )
        report = Report(output, stream, loaded.description)
        report.write(loaded.score_group(group, media=options))
        report.finish()


def _build_record(
    images: list[str], videos: list[str], prompt: str | None, files: list[str], texts: list[str]
) -> dict[str, Any]:
    """The input line that says the same as the options."""
    if not files and not texts:
        raise UsageError("no responses", hint="Give at least one with -r FILE or -t TEXT.")
    if files.count("-") + (prompt == "@-") > 1:
        raise UsageError("standard input can be read once only", where="-r -")
    if prompt is None and not images and not videos:
        raise UsageError("text alone needs a prompt", hint='Give one with -p "…" or -p @FILE.')
    if prompt is not None and prompt.startswith("@"):
        prompt = _read_text(prompt[1:])
    fields = {"prompt": prompt, "images": images, "videos": videos}
    return {name: value for name, value in fields.items() if value} | {
        "responses": [*(_read_text(path) for path in files), *texts],
        "labels": [*files, *(f"text {number}" for number in range(1, len(texts) + 1))],
    }


def _read_text(path: str) -> str:
    name = "standard input" if path == "-" else path
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=name) from error
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text (byte {error.start})", where=name) from error
    return text.removesuffix("\n").removesuffix("\r")
