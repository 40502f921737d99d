"""The progress bar of a long run: on a terminal's standard error, never in the data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

from yoj_cli.config import OutputConfig

Item = TypeVar("Item")


def show_progress(
    items: Iterable[Item], paths: Sequence[str], limit: int | None, output: OutputConfig, stream: IO[str]
) -> Iterator[Item]:
    """Pass items through, showing how many are done, the rate and the time left."""
    if output.quiet or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=count_lines(paths, limit), rate="")
    bar.start()
    try:
        for item in items:
            if stream.isatty():
                bar.stop()  # the tables go to the same screen: take the bar away while one is printed
            yield item
            if stream.isatty():
                bar.start()
            speed = bar.tasks[task].speed
            bar.update(task, advance=1, rate=f"{speed:,.1f} groups/s" if speed else "")
    finally:
        bar.stop()


def count_lines(paths: Sequence[str], limit: int | None) -> int | None:
    """Lines in all files, at most `limit`; None where that is not known before reading (a pipe)."""
    total = 0
    for path in paths:
        if path == "-" or not Path(path).is_file():
            return limit
        with open(path, "rb") as file:
            total += sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
            if file.tell():
                file.seek(-1, 2)
                total += file.read(1) != b"\n"
    return total if limit is None else min(limit, total)
