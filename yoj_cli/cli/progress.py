"""What a person sees while waiting: only on a terminal, on standard error, never in the data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from yoj_cli.config.io import OutputConfig
from yoj_cli.config.judge import JudgeConfig

Item = TypeVar("Item")


def _is_watched(output: OutputConfig) -> bool:
    return not output.quiet and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def show_loading(judge: JudgeConfig, output: OutputConfig) -> Iterator[None]:
    """Say that the judge is being loaded, and take the line away when it is."""
    if not _is_watched(output):
        yield
        return
    from yoj_cli.render.wording import encodable, one_line

    line = f"loading {one_line(str(judge.resolved().model), 60)} …"
    sys.stderr.write(encodable(line, sys.stderr.encoding))
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@contextmanager
def show_status() -> Iterator[Callable[[str], None]]:
    """A line that says what is going on, for as long as it goes on; only on a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda what: None
        return
    from yoj_cli.render.wording import encodable, one_line

    def tell(what: str) -> None:
        sys.stderr.write(f"\r\x1b[K{encodable(one_line(what, 70) + ' …', sys.stderr.encoding)}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def show_progress(
    items: Iterable[Item],
    output: OutputConfig,
    *,
    total: Callable[[], int | None],
    n_done: int = 0,
    pause: bool,
) -> Iterator[Item]:
    """Pass items through, showing how many are done, the rate and the time left.

    Args:
        total: how many items there are in all; asked only where somebody watches.
        n_done: those of them that an earlier run has done.
        pause: take the bar away while an item is in use: it is printed on the same screen.
    """
    if not _is_watched(output):
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
    task = bar.add_task("", total=total(), completed=n_done, rate="")
    bar.start()
    try:
        for item in items:
            if pause:
                bar.stop()
            yield item
            speed = bar.tasks[task].speed
            bar.update(task, advance=1, rate=f"{speed:,.1f} groups/s" if speed else "")
            if pause:
                bar.start()
    finally:
        bar.stop()


def count_lines(paths: Sequence[str], limit: int | None) -> int | None:
    """Lines in all files, at most `limit`; None where that is not known before reading (a pipe, a packed file)."""
    from yoj_cli.records.lines import is_packed

    total = 0
    for path in paths:
        if path == "-" or not Path(path).is_file() or is_packed(path):
            return limit
        with open(path, "rb") as file:
            last = b"\n"
            while chunk := file.read(1 << 20):
                total += chunk.count(b"\n")
                last = chunk[-1:]
            total += last != b"\n"
    return total if limit is None else min(limit, total)
