"""Where results go: the stream, the format, the messages beside them."""

from __future__ import annotations

import io
import os
import stat
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import typer

from yoj_cli.cli.options import is_debugging
from yoj_cli.config import OutputConfig
from yoj_cli.errors import UsageError

if TYPE_CHECKING:
    from yoj_cli.inputs.records import Failure
    from yoj_cli.outputs.ranking import Verdict


class Report:
    """Writes verdicts and failures as they come, and a summary at the end.

    Args:
        stream: from `open_output`.
        judge: what scored the groups and how, written into every JSON line.
    """

    def __init__(self, config: OutputConfig, stream: IO[str], judge: Mapping[str, Any]) -> None:
        from yoj_cli.outputs.ranking import Summary
        from yoj_cli.outputs.writers import open_writer

        self.summary = Summary()
        self._config, self._stream = config, stream
        self._started = time.perf_counter()
        with writing(stream):
            if config.output is not None and stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                stream.truncate(0)  # only now: a judge that does not load must not cost earlier results
            self._writer = open_writer(resolve_format(config, stream), stream, judge=judge, top=config.top)

    def write(self, verdict: Verdict) -> None:
        with writing(self._stream):
            self._writer.write(verdict)
        self.summary.add(verdict)

    def write_failure(self, failure: Failure) -> None:
        with writing(self._stream):
            self._writer.write_error(failure, failure.error)
        self.summary.add_failure()
        if is_debugging():
            traceback.print_exception(failure.error)
        if not (self._stream.isatty() and sys.stderr is not None and sys.stderr.isatty()):
            complain(str(failure.error))  # on one screen the table says it already

    def finish(self) -> None:
        from yoj_cli.outputs.wording import render_summary

        with writing(self._stream):
            self._writer.finish()
        if not self._config.quiet and self.summary.n_scored + self.summary.n_failed != 1:
            say(render_summary(self.summary, seconds=time.perf_counter() - self._started))


def resolve_format(config: OutputConfig, stream: IO[str]) -> Any:
    """auto is a table for a person (a terminal) and JSON Lines for everything else."""
    if config.json:
        return "jsonl"
    if config.format == "auto":
        return "table" if stream.isatty() else "jsonl"
    return config.format


@contextmanager
def open_output(config: OutputConfig, inputs: Sequence[str] = ()) -> Iterator[IO[str]]:
    """Standard output, or the file of --output; UTF-8 whatever the locale, except for tables on a terminal.

    An existing file keeps its content until a `Report` starts on it.

    Args:
        inputs: paths that will be read, "-" for standard input.
    Raises:
        UsageError: the file cannot be written, or is one of the inputs.
    """
    if config.output is None:
        stream: IO[str] | None = sys.stdout
        if stream is None:
            raise UsageError("standard output is closed")
        _refuse_overwriting(stream, inputs)
        if isinstance(stream, io.TextIOWrapper) and resolve_format(config, stream) != "table":
            stream.reconfigure(encoding="utf-8", newline="\n")
        yield stream
        return
    try:
        file = config.output.open("a", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot be written ({error.strerror})", where=str(config.output)) from error
    with file:
        _refuse_overwriting(file, inputs)
        yield file


def _refuse_overwriting(stream: IO[str], inputs: Sequence[str]) -> None:
    """`yoj score a.jsonl -o a.jsonl` would lose its input, `>> a.jsonl` would never end."""
    with suppress(OSError):  # a stream without a file behind it
        output = os.fstat(stream.fileno())
        for path in inputs if stat.S_ISREG(output.st_mode) else ():
            with suppress(OSError, AttributeError, ValueError):  # not there, a data: URL, no standard input
                found = os.fstat(sys.stdin.fileno()) if path == "-" else os.stat(path)
                if os.path.samestat(found, output):
                    where = "stdin" if path == "-" else path
                    raise UsageError("the output would overwrite this input", where=where)


@contextmanager
def writing(stream: IO[str]) -> Iterator[None]:
    """Around whatever writes results: a reader that has seen enough ends the program quietly.

    Raises:
        UsageError: the disk is full, say.
    """
    try:
        yield
    except OSError as error:
        # What the stream still holds must not be flushed into the closed pipe or the full disk at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit from None
        raise UsageError(f"the results cannot be written ({error.strerror})") from error


def complain(text: str) -> None:
    """An error or a warning for a person, on standard error."""
    say(f"yoj: {text}")


def say(text: str) -> None:
    """A message for a person, on standard error, with nothing in it that a terminal acts on."""
    from yoj_cli.outputs.wording import one_line, plain_signs

    if sys.stderr is None:
        return
    signs = plain_signs(sys.stderr.encoding or "utf-8")
    with suppress(OSError):  # nobody listens
        sys.stderr.write("".join(one_line(line).translate(signs) + "\n" for line in text.splitlines()))
