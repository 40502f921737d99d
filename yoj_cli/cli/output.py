"""Where results go: the stream, the format, the messages beside them."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import typer

from yoj_cli.cli.messages import Complaints, say
from yoj_cli.cli.options import is_debugging
from yoj_cli.config.io import OutputConfig, WrittenFormat
from yoj_cli.errors import UsageError

if TYPE_CHECKING:
    from yoj_cli.config.calibrate import AbstainConfig
    from yoj_cli.groups import Failure
    from yoj_cli.render.blocks import Block
    from yoj_cli.verdicts.verdict import Verdict


class Report:
    """Writes verdicts and failures as they come, and a summary at the end.

    Args:
        stream: from `open_output`.
        judge: what scored the groups and how, written into every JSON line.
        abstain: when no response is called the best; None for never.
        escalated: where the input lines of such groups go besides.
    """

    def __init__(
        self,
        config: OutputConfig,
        stream: IO[str],
        judge: Mapping[str, Any],
        abstain: AbstainConfig | None = None,
        escalated: IO[str] | None = None,
    ) -> None:
        from yoj_cli.verdicts.agreement import Summary

        self.summary = Summary()
        self._abstain_below = abstain.abstain_below if abstain else None
        self._escalated = escalated
        self._config, self._judge = config, judge
        self._started = time.perf_counter()
        self._complaints = Complaints()
        self.turn_to(stream)

    def turn_to(self, stream: IO[str]) -> None:
        """Write what follows there; the summary goes on."""
        from yoj_cli.render.writers import open_writer

        config, self._stream = self._config, stream
        output_format = resolve_format(config, stream)
        self._writer = open_writer(output_format, stream, judge=self._judge, top=config.top, raw=config.raw)

    def write(self, verdict: Verdict) -> None:
        if self._abstain_below is not None and max(verdict.p_best) < self._abstain_below:
            verdict = replace(verdict, abstained=True)
            self._escalate(verdict)
        with writing(self._stream):
            self._writer.write(verdict)
        self.summary.add(verdict)

    def _escalate(self, verdict: Verdict) -> None:
        from yoj_cli.render.writers import render_json
        from yoj_cli.verdicts.record import input_fields

        if self._escalated is not None:
            with writing(self._escalated):
                self._escalated.write(render_json(input_fields(verdict.group.record)) + "\n")

    def write_failure(self, failure: Failure) -> None:
        with writing(self._stream):
            self._writer.write_error(failure, failure.error)
        self.summary.add_failure()
        if is_debugging():
            traceback.print_exception(failure.error)
        if not (self._stream.isatty() and sys.stderr is not None and sys.stderr.isatty()):
            self._complaints.add(failure.error)  # on one screen the table says it already

    def end_stream(self) -> None:
        """Write what the format needs at the end."""
        with writing(self._stream):
            self._writer.finish()

    def finish(self) -> None:
        """Say what was done, when the last stream has ended."""
        from yoj_cli.render.wording import render_summary

        self._complaints.finish()
        if self._escalated is not None:
            with writing(self._escalated):
                self._escalated.write("")  # an empty file says that there was none
                self._escalated.flush()
        if not self._config.quiet and self.summary.n_scored + self.summary.n_failed != 1:
            say(render_summary(self.summary, seconds=time.perf_counter() - self._started))

    def interrupted(self, n_groups: int | None, *, can_resume: bool) -> None:
        """Say how far the run came; nothing where no group is written.

        Args:
            n_groups: groups of the whole run; None where nobody knows (a pipe).
            can_resume: whether the run can go on from there.
        """
        from yoj_cli.render.wording import one_line

        n_written = self.summary.n_scored + self.summary.n_failed
        if self._config.quiet or not n_written:
            return
        of_all = f" of {n_groups:,}" if n_groups is not None else ""
        place = f" to {one_line(str(self._config.output))}" if self._config.output else ""
        way_on = "; go on with the same command and --resume" if can_resume else ""
        say(f"interrupted: {n_written:,}{of_all} groups are written{place}{way_on}")


def resolve_format(config: OutputConfig, stream: IO[str]) -> WrittenFormat:
    """auto is a table for a person (a terminal) and JSON Lines for everything else."""
    if config.json:
        return "jsonl"
    if config.format == "auto":
        return "table" if stream.isatty() else "jsonl"
    return config.format


@contextmanager
def open_output(
    config: OutputConfig, inputs: Sequence[str] = (), *, resume: bool = False, whole: bool = False
) -> Iterator[IO[str]]:
    """Standard output, or the file of --output; UTF-8 whatever the locale, except for tables on a terminal.

    A file is made at the first write; until then nothing of it is there, or what it holds stays.

    Args:
        inputs: paths that will be read, "-" for standard input.
        resume: see `open_result`.
        whole: one document: the file gets its name at the end; see `open_whole`.
    Raises:
        UsageError: the file cannot be written, holds results, is written by another process, or is one of the
            inputs.
    """
    if config.output is None or str(config.output) == "-":
        stream: IO[str] | None = sys.stdout
        if stream is None:
            raise UsageError("standard output is closed")
        with suppress(OSError):  # a stream without a file behind it
            _refuse_overwriting(os.fstat(stream.fileno()), inputs)
        if isinstance(stream, io.TextIOWrapper) and resolve_format(config, stream) != "table":
            stream.reconfigure(encoding="utf-8", newline="\n")
        yield stream
        return
    from yoj_cli.run.result_file import open_result, open_whole

    with suppress(OSError):  # not there yet
        _refuse_overwriting(config.output.stat(), inputs)
    if whole:
        with open_whole(config.output, overwrite=config.overwrite) as file:
            yield file
        return
    with open_result(config.output, overwrite=config.overwrite, resume=resume) as file:
        yield file


def write_blocks(
    blocks: Sequence[Block], document: Mapping[str, Any], *, as_json: bool, markdown: bool
) -> None:
    """Figures and tables to standard output, as text, as Markdown, or as one JSON document."""
    from yoj_cli.render.blocks import render_markdown, render_text
    from yoj_cli.render.wording import encodable, plain_signs

    kind: WrittenFormat = "jsonl" if as_json else "markdown" if markdown else "table"
    with open_output(OutputConfig(json=as_json, format=kind)) as stream, writing(stream):
        if as_json:
            text = json.dumps(document, ensure_ascii=False) + "\n"
        else:
            text = (render_markdown if markdown else render_text)(blocks)
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(encodable(text.translate(plain_signs(encoding)), encoding))
        stream.flush()


def _refuse_overwriting(output: os.stat_result, inputs: Sequence[str]) -> None:
    """`yoj score a.jsonl -o a.jsonl` would lose its input, `>> a.jsonl` would never end."""
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
        is_whole = getattr(stream, "is_whole", False)
        raise UsageError(
            f"the results cannot be written ({error.strerror})",
            hint="" if is_whole else "What was written may end in the middle of a line.",
        ) from error
