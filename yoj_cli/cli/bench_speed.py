"""`yoj bench-speed`: what reading a whole group at once saves, on this machine."""

from __future__ import annotations

import json
from typing import Annotated, Optional

import typer

from yoj_cli.cli.input import build_media_options, check_paths
from yoj_cli.cli.messages import complain, say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, writing
from yoj_cli.cli.progress import show_status
from yoj_cli.config.bench import BenchConfig
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.errors import ExitCode, UsageError


@with_options(bench=BenchConfig, media=InputConfig)
def bench_speed(
    bench: BenchConfig,
    media: InputConfig,
    file: Annotated[
        Optional[str],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(
            help="JSON Lines of real groups: the first that have N responses. Default: drawn ones.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Compare the speed and memory of reading N responses one at a time and together.

    The same groups, in turn: (a) one pass per response, (b) one padded batch, (c) the responses over the
    prefix's KV cache, (d) single, packed, (e) multi in one pass, (f) multi in several orders, (g) multi as
    the official code runs it. Exits with 1 where scores differ that must be equal.
    """
    check_groups(bench, file)
    with open_output(OutputConfig(json=bench.json, format="jsonl" if bench.json else "table")) as stream:
        from yoj_cli.bench.speed import compare_speed
        from yoj_cli.bench.tables import render_report

        with show_status() as tell:
            report = compare_speed(
                bench,
                path=file,
                media_root=media.media_root,
                media=build_media_options(media),
                limits=media,
                tell=tell,
            )
        with writing(stream):
            text = json.dumps(report.document()) + "\n" if bench.json else render_report(report)
            stream.write(text)
            stream.flush()
        if bench.plot is not None:
            from yoj_cli.bench.plot import draw_speedup

            draw_speedup(report, bench.plot)
            say(f"drawn: {bench.plot}")
    for line in report.disagreements:
        complain(line)
    if report.disagreements:
        raise typer.Exit(ExitCode.SOME_FAILED)


def check_groups(bench: BenchConfig, file: str | None) -> None:
    """Refuse options that make no sense with real groups, and a picture that could not be written.

    Raises:
        UsageError: naming the option to drop.
        InputError: there is no such file.
    """
    if bench.plot is not None and not bench.plot.absolute().parent.is_dir():
        raise UsageError("there is no such folder", where=str(bench.plot.parent))
    if file is None:
        return
    if file == "-":
        raise UsageError("groups are read anew for each N, a pipe can be read once", hint="Give a file.")
    check_paths([file])
    if bench.random_init:
        raise UsageError(
            "random weights have no tokenizer to read groups with", where=file, hint="Drop FILE."
        )
    for name in ("prompt_tokens", "response_tokens", "picture_tokens", "clip_tokens"):
        if getattr(bench, name) is not None:
            raise UsageError("real groups have sizes of their own", where=f"--{name.replace('_', '-')}")
