"""Verdicts to a stream, one at a time: jsonl and csv for programs, markdown for pages, a table for people.

Every format is a writer that writes a verdict out at once and keeps nothing:

    writer = open_writer("jsonl", sys.stdout)
    writer.write(verdict)
    writer.write_error(group, error)
    writer.finish()
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import IO, Any, Protocol

from yoj_cli.config.io import WrittenFormat
from yoj_cli.errors import UsageError
from yoj_cli.groups import Failure, Group
from yoj_cli.render.wording import (
    BIDI_CONTROLS,
    encodable,
    error_text,
    facts_of,
    is_hit,
    labels_of,
    name_of,
    one_line,
    percent,
    visible,
)
from yoj_cli.verdicts.record import shortest_float32, to_error_record, to_record
from yoj_cli.verdicts.verdict import Verdict

CSV_COLUMNS = ("id", "index", "rank", "score", "p_best", "spread", "order_agreement", "response", "error")
MARKDOWN_TEXT_LENGTH = 200

FORMULA_STARTS = tuple("=+-@＝＋－＠\t\r\n")
"""What makes a spreadsheet run a cell, or look for that behind it; the wide signs count as the plain ones."""


ESCAPED = "[\x7f-\x9f\ud800-\udfff" + "".join(sorted(BIDI_CONTROLS)) + "]"
"""DEL, the C1 controls, lone surrogates, and what turns the writing direction; JSON escapes the rest by itself."""


class Writer(Protocol):
    """One output format over one stream."""

    def write(self, verdict: Verdict) -> None:
        """Write one judged group and flush."""

    def write_error(self, source: Group | Failure | Mapping[str, Any], error: Exception) -> None:
        """Write one failed group; `source` is the group, its failure, or its input line."""

    def finish(self) -> None:
        """Write what the format needs at the end, also when nothing was written before."""


def open_writer(
    output_format: WrittenFormat,
    stream: IO[str],
    *,
    judge: Mapping[str, Any] | None = None,
    top: int | None = None,
    width: int | None = None,
    raw: bool = False,
) -> Writer:
    """The writer of a format.

    Args:
        judge: what scored the groups and how; jsonl writes it into every line, with the group's orders.
        top: show only the best `top` responses; jsonl keeps all scores and adds them as "top".
        width: columns of a table; None asks the terminal (80 where there is none).
        raw: csv cells hold texts as they are, also what a terminal or a spreadsheet acts on.
    """
    if output_format == "jsonl":
        return JsonlWriter(stream, judge=judge or {}, top=top)
    if output_format == "csv":
        return CsvWriter(stream, top=top, raw=raw)
    if output_format == "markdown":
        return MarkdownWriter(stream, top=top)
    from yoj_cli.render.table import TableWriter

    return TableWriter(stream, top=top, width=width)


class JsonlWriter:
    """One JSON object a line, UTF-8 without ASCII escapes."""

    def __init__(self, stream: IO[str], *, judge: Mapping[str, Any], top: int | None = None) -> None:
        self.stream, self.judge, self.top = stream, judge, top

    def write(self, verdict: Verdict) -> None:
        self._line(to_record(verdict, self.judge, top=self.top))

    def write_error(self, source: Group | Failure | Mapping[str, Any], error: Exception) -> None:
        self._line(to_error_record(source.record if isinstance(source, (Group, Failure)) else source, error))

    def finish(self) -> None:
        self.stream.flush()

    def _line(self, record: Mapping[str, Any]) -> None:
        self.stream.write(render_json(record) + "\n")
        self.stream.flush()


def render_json(record: Mapping[str, Any]) -> str:
    """One line of JSON. As \\uXXXX stay only lone surrogates, which UTF-8 has not, and what a terminal acts on."""
    text = json.dumps(record, ensure_ascii=False)
    return re.sub(ESCAPED, lambda match: f"\\u{ord(match[0]):04x}", text)


class CsvWriter:
    """One row a response, best first; RFC 4180 quoting, line feeds, the full response text.

    Texts are other people's, and a spreadsheet runs a cell that begins with "=". Unless `raw`, such a cell gets an
    apostrophe in front (as OWASP, "CSV Injection", advises), and what a terminal acts on is made visible.
    """

    def __init__(self, stream: IO[str], *, top: int | None = None, raw: bool = False) -> None:
        self.stream, self.top, self.raw = stream, top, raw
        self._has_header = False

    def write(self, verdict: Verdict) -> None:
        for i in verdict.order[: self.top]:
            self._row(
                (
                    self._text(verdict.group.id),
                    i,
                    verdict.ranks[i],
                    shortest_float32(verdict.scores[i]),
                    shortest_float32(verdict.p_best[i]),
                    None if verdict.spread is None else shortest_float32(verdict.spread[i]),
                    None if verdict.order_agreement is None else shortest_float32(verdict.order_agreement),
                    self._text(verdict.group.responses[i]),
                    None,
                )
            )
        self.stream.flush()

    def write_error(self, source: Group | Failure | Mapping[str, Any], error: Exception) -> None:
        name, empty = self._text(name_of(source)), [None] * (len(CSV_COLUMNS) - 2)
        self._row((name, *empty, self._text(error_text(error))))
        self.stream.flush()

    def finish(self) -> None:
        self._begin()
        self.stream.flush()

    def _begin(self) -> None:
        if not self._has_header:
            self._has_header = True
            self._row(CSV_COLUMNS)

    def _text(self, text: str) -> str:
        return text if self.raw else disarmed(text)

    def _row(self, cells: Sequence[object]) -> None:
        self._begin()
        row = StringIO(newline="")
        # Before Python 3.13 a lone \r is quoted only where the line ends with one; hence the detour.
        try:
            csv.writer(row, lineterminator="\r\n").writerow(cells)
        except csv.Error as error:
            raise UsageError(
                f"a text cannot be written as CSV ({error})",
                where="--raw",
                hint="Before Python 3.11 a NUL character cannot: leave --raw away, or use --json.",
            ) from error
        self.stream.write(encodable(row.getvalue().removesuffix("\r\n"), "utf-8") + "\n")


def disarmed(text: str) -> str:
    """The text of a cell that a spreadsheet shows and does not run, and that a terminal only prints."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(FORMULA_STARTS) else shown


class MarkdownWriter:
    """A heading and a table a group. Texts are cut to one line of MARKDOWN_TEXT_LENGTH characters."""

    def __init__(self, stream: IO[str], *, top: int | None = None) -> None:
        self.stream, self.top = stream, top

    def write(self, verdict: Verdict) -> None:
        group, labels = verdict.group, labels_of(verdict.group)
        columns = ["rank", "response", "score", "P(best)"]
        if verdict.spread is not None:
            columns.append("spread")
        if group.rankings is not None:
            columns.append("given")
        title = ": ".join(escape_markdown(part) for part in (group.id, group.prompt) if part)
        lines = [
            f"### {title}",
            "",
            escape_markdown(facts_of(verdict)),
            "",
            f"| {' | '.join(columns)} | text |",
            f"|{'---:|' * len(columns)}---|",
        ]
        for i in verdict.order[: self.top]:
            cells = [str(verdict.ranks[i]), escape_markdown(labels[i]), f"{verdict.scores[i]:.3f}"]
            cells.append(percent(verdict.p_best[i]))
            if verdict.spread is not None:
                cells.append(f"{verdict.spread[i]:.3f}")
            if group.rankings is not None:
                hit = {None: "", True: " ✓", False: " ✗"}[is_hit(verdict, i)]
                cells.append(f"{group.rankings[i]:g}{hit}")
            bold = "**" if verdict.ranks[i] == 1 and not verdict.abstained else ""
            cells = [f"{bold}{cell}{bold}" for cell in cells]
            lines.append(f"| {' | '.join(cells)} | {escape_markdown(group.responses[i])} |")
        n_hidden = len(verdict.order) - len(verdict.order[: self.top])
        if n_hidden:
            lines += ["", f"… {n_hidden} more"]
        self._lines(lines)

    def write_error(self, source: Group | Failure | Mapping[str, Any], error: Exception) -> None:
        self._lines(
            [f"### {escape_markdown(name_of(source))}", "", f"✗ {escape_markdown(error_text(error))}"]
        )

    def finish(self) -> None:
        self.stream.flush()

    def _lines(self, lines: Sequence[str]) -> None:
        self.stream.write("\n".join(lines) + "\n\n")
        self.stream.flush()


def escape_markdown(text: str) -> str:
    """The text on one line, as text: nothing in it is markup or HTML."""
    line = (
        one_line(text, MARKDOWN_TEXT_LENGTH).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", line)
