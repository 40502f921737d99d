"""Verdicts as text: a table for people, markdown for pages, jsonl and csv for programs.

Every format is a writer that takes one verdict at a time, writes it out at once and keeps nothing:

    writer = open_writer("table", sys.stdout)
    writer.write(verdict)
    writer.write_error(group, error)
    writer.finish()

What a prompt or a response says is data: in a table or on a markdown page it cannot move the cursor, colour
the terminal, break a row or open a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol
from unicodedata import category
from urllib.parse import urlparse

from yoj_cli.inputs.records import Group, Media
from yoj_cli.outputs.ranking import Summary, Verdict, shortest_float32, to_error_record, to_record

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

Format = Literal["table", "jsonl", "csv", "markdown"]
FORMATS: tuple[Format, ...] = ("table", "jsonl", "csv", "markdown")

CSV_COLUMNS = ("id", "index", "rank", "score", "p_best", "spread", "response", "error")
MARKDOWN_TEXT_LENGTH = 200
LABEL_LENGTH = 28
NARROW, WIDE = 60, 100
"""Columns of the terminal: the table has no bars below NARROW and longer ones from WIDE on."""

PLAIN_SIGNS = dict(zip("★…·✓✗█▉▊▋▌▍▎▏", "*~-+x#####   ", strict=True))
"""What stands for a sign of the table where the stream's encoding has no such character."""

BIDI_CONTROLS = frozenset(map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


class Writer(Protocol):
    """One output format over one stream."""

    def write(self, verdict: Verdict) -> None:
        """Write one judged group and flush."""

    def write_error(self, source: Group | Mapping[str, Any], error: Exception) -> None:
        """Write one failed group; `source` is the group, or the input line where there is none."""

    def finish(self) -> None:
        """Write what the format needs at the end, also when nothing was written before."""


def open_writer(
    output_format: Format,
    stream: IO[str],
    *,
    judge: Mapping[str, Any] | None = None,
    top: int | None = None,
    width: int | None = None,
) -> Writer:
    """The writer of a format.

    Args:
        judge: what scored the groups and how; jsonl writes it into every line.
        top: show only the best `top` responses; jsonl keeps all scores and adds them as "top".
        width: columns of a table; None asks the terminal (80 where there is none).
    """
    if output_format == "jsonl":
        return JsonlWriter(stream, judge=judge or {}, top=top)
    if output_format == "csv":
        return CsvWriter(stream, top=top)
    if output_format == "markdown":
        return MarkdownWriter(stream, top=top)
    return TableWriter(stream, top=top, width=width)


class JsonlWriter:
    """One JSON object a line, UTF-8 without ASCII escapes."""

    def __init__(self, stream: IO[str], *, judge: Mapping[str, Any], top: int | None = None) -> None:
        self.stream, self.judge, self.top = stream, judge, top

    def write(self, verdict: Verdict) -> None:
        self._line(to_record(verdict, self.judge, top=self.top))

    def write_error(self, source: Group | Mapping[str, Any], error: Exception) -> None:
        self._line(to_error_record(source.record if isinstance(source, Group) else source, error))

    def finish(self) -> None:
        self.stream.flush()

    def _line(self, record: Mapping[str, Any]) -> None:
        self.stream.write(render_json(record) + "\n")
        self.stream.flush()


def render_json(record: Mapping[str, Any]) -> str:
    """One line of JSON. UTF-8 has no lone surrogates, so these (and only these) stay \\uXXXX escapes."""
    text = json.dumps(record, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


class CsvWriter:
    """One row a response, best first; RFC 4180 quoting, line feeds, the full response text."""

    def __init__(self, stream: IO[str], *, top: int | None = None) -> None:
        self.stream, self.top = stream, top
        self._row(CSV_COLUMNS)

    def write(self, verdict: Verdict) -> None:
        for i in verdict.order[: self.top]:
            self._row(
                (
                    verdict.group.id,
                    str(i),
                    str(verdict.ranks[i]),
                    repr(shortest_float32(verdict.scores[i])),
                    repr(shortest_float32(verdict.p_best[i])),
                    "" if verdict.spread is None else repr(shortest_float32(verdict.spread[i])),
                    verdict.group.responses[i],
                    "",
                )
            )
        self.stream.flush()

    def write_error(self, source: Group | Mapping[str, Any], error: Exception) -> None:
        self._row((_name(source), *[""] * (len(CSV_COLUMNS) - 2), _error_text(error)))
        self.stream.flush()

    def finish(self) -> None:
        self.stream.flush()

    def _row(self, cells: Sequence[str]) -> None:
        quoted = (
            f'"{cell.replace(chr(34), chr(34) * 2)}"' if re.search('[",\r\n]', cell) else cell
            for cell in cells
        )
        self.stream.write(_encodable(",".join(quoted), "utf-8") + "\n")


class MarkdownWriter:
    """A heading and a table a group. Texts are cut to one line of MARKDOWN_TEXT_LENGTH characters."""

    def __init__(self, stream: IO[str], *, top: int | None = None) -> None:
        self.stream, self.top = stream, top

    def write(self, verdict: Verdict) -> None:
        group, labels = verdict.group, _labels(verdict.group)
        columns = ["rank", "response", "score", "P(best)"]
        if verdict.spread is not None:
            columns.append("spread")
        if group.rankings is not None:
            columns.append("given")
        lines = [
            f"### {_markdown(group.id)}: {_markdown(group.prompt)}",
            "",
            _markdown(" · ".join(_facts(verdict))),
            "",
            f"| {' | '.join(columns)} | text |",
            f"|{'---:|' * len(columns)}---|",
        ]
        for i in verdict.order[: self.top]:
            cells = [str(verdict.ranks[i]), _markdown(labels[i]), f"{verdict.scores[i]:.3f}"]
            cells.append(_percent(verdict.p_best[i]))
            if verdict.spread is not None:
                cells.append(f"{verdict.spread[i]:.3f}")
            if group.rankings is not None:
                hit = {None: "", True: " ✓", False: " ✗"}[_hit(verdict, i)]
                cells.append(f"{group.rankings[i]:g}{hit}")
            bold = "**" if verdict.ranks[i] == 1 else ""
            cells = [f"{bold}{cell}{bold}" for cell in cells]
            lines.append(f"| {' | '.join(cells)} | {_markdown(group.responses[i])} |")
        self._lines(lines)

    def write_error(self, source: Group | Mapping[str, Any], error: Exception) -> None:
        self._lines([f"### {_markdown(_name(source))}", "", f"✗ {_markdown(_error_text(error))}"])

    def finish(self) -> None:
        self.stream.flush()

    def _lines(self, lines: Sequence[str]) -> None:
        self.stream.write("\n".join(lines) + "\n\n")
        self.stream.flush()


def _markdown(text: str) -> str:
    """The text on one line, as text: nothing in it is markup or HTML."""
    line = (
        one_line(text, MARKDOWN_TEXT_LENGTH).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", line)


class TableWriter:
    """A table a group, for a terminal or a plain file. Colour only helps: every mark is also a sign."""

    def __init__(self, stream: IO[str], *, top: int | None = None, width: int | None = None) -> None:
        from rich.console import Console

        self.stream, self.top = stream, top
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
        has_signs = all(_encodable(sign, self.encoding) == sign for sign in PLAIN_SIGNS)
        self.signs = {} if has_signs else str.maketrans(PLAIN_SIGNS)

    def write(self, verdict: Verdict) -> None:
        group = verdict.group
        self._line(self._text(f"{one_line(group.id, None)}  ", "bold"), self._data(group.prompt))
        self._line(self._text(" · ".join(_facts(verdict)), "dim"))
        self._print(self._table(verdict))
        n_hidden = len(verdict.order) - len(verdict.order[: self.top])
        if n_hidden:
            self._line(self._text(f"    … {n_hidden} more", "dim"))
        self._end()

    def write_error(self, source: Group | Mapping[str, Any], error: Exception) -> None:
        from rich.padding import Padding

        name = self._text(f"{one_line(_name(source), None)}  ", "bold")
        self._line(name, self._text(f"✗ {type(error).__name__}", "red"))
        for line in str(error).splitlines():
            self._print(Padding(self._text(one_line(line, None), wrap=True), (0, 0, 0, 2)))
        self._end()

    def finish(self) -> None:
        self.stream.flush()

    def _table(self, verdict: Verdict) -> Table:
        from rich.table import Table

        group, labels = verdict.group, _labels(verdict.group, min(LABEL_LENGTH, self.console.width // 4))
        has_names = labels != [str(i) for i in range(len(labels))]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("response", justify="left" if has_names else "right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("P(best)", no_wrap=True)
        if verdict.spread is not None:
            table.add_column("spread", justify="right", no_wrap=True)
        if group.rankings is not None:
            table.add_column("given", no_wrap=True)
        table.add_column("text")
        for i in verdict.order[: self.top]:
            is_best = verdict.ranks[i] == 1
            cells = [
                self._text(f"{'★' if is_best else ' '} {verdict.ranks[i]}"),
                self._text(labels[i]),
                self._text(f"{verdict.scores[i]:.3f}"),
                self._p_best(verdict.p_best[i]),
            ]
            if verdict.spread is not None:
                cells.append(self._text(f"{verdict.spread[i]:.3f}", "dim"))
            if group.rankings is not None:
                cells.append(self._given(group.rankings[i], _hit(verdict, i)))
            cells.append(self._data(group.responses[i]))
            table.add_row(*cells, style="bold" if is_best else "")
        return table

    def _line(self, *parts: Text) -> None:
        from rich.text import Text

        self._print(Text.assemble(*parts), no_wrap=True)

    def _end(self) -> None:
        self.stream.write("\n")
        self.stream.flush()

    def _print(self, what: RenderableType, *, no_wrap: bool = False) -> None:
        with self.console.capture() as captured:
            self.console.print(what, no_wrap=no_wrap, overflow="ellipsis" if no_wrap else None)
        # Padding up to the last column would break the line where a terminal draws an emoji wider than rich.
        text = re.sub(r" +((?:\x1b\[[0-9;]*m)*)$", r"\1", captured.get(), flags=re.MULTILINE)
        self.stream.write(_encodable(text.translate(self.signs), self.encoding))

    def _data(self, text: str) -> Text:
        """Somebody else's text. The console cuts what is too wide; no column needs more than 4 characters."""
        return self._text(one_line(text, 4 * self.console.width))

    def _text(self, text: str, style: str = "", *, wrap: bool = False) -> Text:
        from rich.text import Text

        overflow: Literal["fold", "ellipsis"] = "fold" if wrap else "ellipsis"
        plain = _encodable(text.translate(self.signs), self.encoding)
        return Text(plain, style=style, no_wrap=not wrap, overflow=overflow)

    def _p_best(self, p: float) -> Text:
        cell = self._text(f"{_percent(p):>4}")
        if self.console.width >= NARROW:
            n_cells = 12 if self.console.width >= WIDE else 8
            cell.append(f" {_bar(p, n_cells):{n_cells}}", style="cyan not bold")
        return cell

    def _given(self, ranking: float, hit: bool | None) -> Text:
        cell = self._text(f"{ranking:g}")
        if hit is not None:
            cell.append(f" {'✓' if hit else '✗'}", style="green" if hit else "red")
        return cell


def _bar(part: float, n_cells: int) -> str:
    n_eighths = round(part * n_cells * 8)
    return "█" * (n_eighths // 8) + " ▏▎▍▌▋▊▉"[n_eighths % 8].strip()


def one_line(text: str, length: int | None) -> str:
    """The text on one line of at most `length` characters, with nothing left that a terminal acts on.

    Runs of white space become one space. Control characters are shown as pictures (ESC as ␛); those without a
    picture, and characters that turn the writing direction of what follows, as \\uXXXX.
    """
    if length is not None and len(text) > 8 * length:
        text = text.lstrip()[: 8 * length] + "…"
    line = "".join(map(_visible, " ".join(text.split())))
    if length is not None and len(line) > length:
        line = line[: length - 1].rstrip() + "…"
    return line


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code >= 0x80 and (category(char) in ("Cc", "Cs") or char in BIDI_CONTROLS):
        return f"\\u{code:04x}"
    return char


def _encodable(text: str, encoding: str) -> str:
    """The text with what the encoding does not have (lone surrogates, in UTF-8) written as \\uXXXX."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _name(source: Group | Mapping[str, Any]) -> str:
    return source.id if isinstance(source, Group) else str(source.get("id", "(no id)"))


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _labels(group: Group, length: int = LABEL_LENGTH) -> list[str]:
    """What to call each response: the record's "labels" (file names, for `yoj rank`), else the index."""
    labels = group.record.get("labels")
    if isinstance(labels, (list, tuple)) and len(labels) == len(group.responses):
        names = [one_line(str(label), None) for label in labels]
        return [name if len(name) <= length else "…" + name[1 - length :] for name in names]
    return [str(i) for i in range(len(group.responses))]


def _facts(verdict: Verdict) -> list[str]:
    """The line under the title: media, responses, tokens, time."""
    n = len(verdict.scores)
    facts = [f"{media.kind} {one_line(_media_name(media), LABEL_LENGTH)}" for media in verdict.group.media]
    facts.append(f"{n} response{'s' * (n != 1)}")
    if verdict.n_tokens:
        facts.append(f"{verdict.n_tokens:,} tokens")
    if verdict.seconds:
        facts.append(
            f"{verdict.seconds * 1000:.0f} ms" if verdict.seconds < 1 else f"{verdict.seconds:.1f} s"
        )
    return facts


def _media_name(media: Media) -> str:
    if not isinstance(media.source, str):
        return "in memory"
    if media.source.startswith("data:"):
        return "in the line"
    if media.source.startswith(("http://", "https://")):
        return PurePosixPath(urlparse(media.source).path).name or media.source
    return PureWindowsPath(media.source).name or media.source


def _percent(p: float) -> str:
    if 0 < p < 0.005:
        return "<1%"
    if 0.995 <= p < 1:
        return ">99%"
    return f"{100 * p:.0f}%"


def _hit(verdict: Verdict, i: int) -> bool | None:
    """Whether a top-scored response is one of the best-ranked; None where that says nothing."""
    rankings = verdict.group.rankings
    if rankings is None or verdict.ranks[i] != 1 or len(set(rankings)) == 1:
        return None
    return rankings[i] == min(rankings)


def render_summary(summary: Summary, *, seconds: float | None = None) -> str:
    """What happened over all groups, in one or two lines.

    Args:
        seconds: wall time of the whole run, to say how fast it went.
    """
    facts = [f"{summary.n_scored:,} group{'s' * (summary.n_scored != 1)} judged"]
    if summary.n_failed:
        facts.append(f"{summary.n_failed:,} failed")
    if summary.n_tokens:
        facts.append(f"{summary.n_tokens:,} tokens")
    if seconds:
        facts.append(f"{seconds:,.1f} s, {summary.n_scored / seconds:,.1f} groups/s")
    lines = [" · ".join(facts)]
    mean = summary.agreement
    if mean is not None:
        lines.append(
            f"best of N {_percent(mean.best)} (chance {_percent(mean.chance)})"
            f" · pairs {_percent(mean.pairs)} of {mean.n_pairs:,} · tau-b {mean.tau:.2f}"
            f" · {mean.n_groups:,} ranked group{'s' * (mean.n_groups != 1)}"
        )
    return "\n".join(lines)
