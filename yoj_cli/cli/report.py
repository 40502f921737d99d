"""`yoj report`: verdicts as one page to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from yoj_cli.cli.input import build_media_options, check_paths
from yoj_cli.cli.messages import complain, say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, writing
from yoj_cli.cli.progress import show_status
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.config.report import ReportConfig
from yoj_cli.errors import UsageError


@with_options(report=ReportConfig, media=InputConfig)
def report(
    report: ReportConfig,
    media: InputConfig,
    files: Annotated[
        list[str],
        typer.Argument(
            help="JSON Lines that `yoj score` wrote, or a folder of `yoj eval --save`; - for standard input. "
            "Two are compared.",
            metavar="VERDICTS",
        ),
    ],
) -> None:
    """Show verdicts as one self-contained page: search, filter, compare, mark.

    yoj score candidates.jsonl -m demo --json -o scored.jsonl && yoj report scored.jsonl -o report.html

    The page needs no network and no server. What you mark in it is exported for `yoj votes` and `yoj train`.
    """
    check_verdicts(files)
    output = OutputConfig(output=report.output, overwrite=report.overwrite, format="jsonl")
    with open_output(output, inputs=files, whole=True) as stream:
        from yoj_cli.report.build import build_report

        with show_status() as tell:
            tell("reading verdicts")
            built = build_report(
                files,
                title=report.title,
                max_mb=report.max_mb,
                media_root=media.media_root,
                options=build_media_options(media),
                limits=media,
                tell=tell,
            )
        with writing(stream):
            stream.write(built.page)
            stream.flush()
    for note in built.notes:
        complain(note)
    size = len(built.page.encode("utf-8")) / 1e6
    say(f"{built.n_groups:,} groups · {size:.1f} MB · {report.output}")


def check_verdicts(paths: Sequence[str]) -> None:
    """See that there is what will be read; a folder is looked into later.

    Raises:
        UsageError: more than two.
        InputError: a file is not there, or not readable.
    """
    if len(paths) > 2:
        raise UsageError(
            f"a report shows one file or compares two, not {len(paths)}",
            hint="Parts of one run belong together: cat part-*.jsonl | yoj report -",
        )
    if files := [path for path in paths if not os.path.isdir(path)]:
        check_paths(files)
