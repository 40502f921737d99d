"""`yoj report`: verdicts as one page to look at."""

from __future__ import annotations

from typing import Annotated

import typer

from yoj_cli.cli.input import check_paths
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
            help="What `yoj score` wrote as JSON Lines; - for standard input. Two files are compared.",
            metavar="VERDICTS",
        ),
    ],
) -> None:
    """Show verdicts as one self-contained page: search, filter, compare, mark.

    yoj score candidates.jsonl -m demo --json -o scored.jsonl && yoj report scored.jsonl -o report.html

    The page needs no network and no server. What you mark in it is exported for `yoj votes` and `yoj train`.
    """
    paths = check_paths(files)
    if len(paths) > 2:
        raise UsageError(
            f"a report shows one file or compares two, not {len(paths)}",
            hint="Parts of one run belong together: cat part-*.jsonl | yoj report -",
        )
    with open_output(
        OutputConfig(output=report.output, overwrite=report.overwrite, format="jsonl"), inputs=paths
    ) as stream:
        from yoj_cli.report.build import build_report

        with show_status() as tell:
            tell("reading verdicts and pictures")
            built = build_report(
                paths,
                title=report.title,
                max_mb=report.max_mb,
                media_root=media.media_root,
                allow_remote=media.allow_remote_media,
            )
        with writing(stream):
            stream.write(built.page)
            stream.flush()
    for note in built.notes:
        complain(note)
    size = len(built.page.encode("utf-8")) / 1e6
    say(f"{built.n_groups:,} groups · {size:.1f} MB · {report.output}")
