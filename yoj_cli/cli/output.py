"""Where results go: the format, the stream, the summary; shared by the commands that print verdicts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from yoj_cli.config import OutputConfig
from yoj_cli.errors import UsageError

if TYPE_CHECKING:
    from yoj_cli.inputs.records import Failure
    from yoj_cli.outputs.ranking import Verdict


class Report:
    """Writes verdicts and failures as they come, and a summary at the end.

    Args:
        stream: where data goes; the summary and failures go to standard error.
        judge: what scored the groups and how, written into every JSON line.
    """

    def __init__(self, config: OutputConfig, stream: IO[str], judge: Mapping[str, Any]) -> None:
        from yoj_cli.outputs.ranking import Summary
        from yoj_cli.outputs.writers import open_writer

        self.config = config
        self.summary = Summary()
        self._writer = open_writer(resolve_format(config, stream), stream, judge=judge, top=config.top)
        self._started = time.perf_counter()

    def write(self, verdict: Verdict) -> None:
        self._writer.write(verdict)
        self.summary.add(verdict)

    def write_failure(self, failure: Failure) -> None:
        self._writer.write_error(failure.record, failure.error)
        self.summary.add_failure()
        say(str(failure.error))

    def finish(self) -> None:
        from yoj_cli.outputs.wording import render_summary

        self._writer.finish()
        if not self.config.quiet and self.summary.n_scored + self.summary.n_failed > 1:
            sys.stderr.write(render_summary(self.summary, seconds=time.perf_counter() - self._started) + "\n")


def resolve_format(config: OutputConfig, stream: IO[str]) -> Any:
    """auto is a table for a person (a terminal) and JSON Lines for everything else."""
    if config.json:
        return "jsonl"
    if config.format == "auto":
        return "table" if stream.isatty() else "jsonl"
    return config.format


@contextmanager
def open_output(config: OutputConfig) -> Iterator[IO[str]]:
    """Standard output, or the file of --output.

    Raises:
        UsageError: the file cannot be written.
    """
    if config.output is None:
        yield sys.stdout
        return
    try:
        stream = config.output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(config.output)) from error
    with stream:
        yield stream


def say(text: str) -> None:
    """One message for a person, on standard error, with nothing in it that a terminal acts on."""
    from yoj_cli.outputs.wording import one_line

    sys.stderr.write("yoj: " + "\n".join(one_line(line, None) for line in text.splitlines()) + "\n")
