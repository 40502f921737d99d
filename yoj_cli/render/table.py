"""Verdicts as a table for people. Colour only helps: every mark is also a sign."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from yoj_cli.groups import Failure, Group
from yoj_cli.render.wording import (
    LABEL_LENGTH,
    encodable,
    facts_of,
    is_hit,
    labels_of,
    name_of,
    one_line,
    percent,
    plain_signs,
)
from yoj_cli.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

NARROW, WIDE = 60, 100
"""Columns of the terminal: the table has no bars below NARROW and longer ones from WIDE on."""


class TableWriter:
    """A table a group, for a terminal or a plain file."""

    def __init__(self, stream: IO[str], *, top: int | None = None, width: int | None = None) -> None:
        self.stream, self.top = stream, top
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
        self.signs = plain_signs(self.encoding)

    def write(self, verdict: Verdict) -> None:
        group = verdict.group
        if group.id:
            self._line(self._text(f"{one_line(group.id)}  ", "bold"), self._data(group.prompt))
        else:
            self._line(self._data(group.prompt, "bold"))
        self._line(self._text(facts_of(verdict), "dim"))
        self._print(self._table(verdict))
        n_hidden = len(verdict.order) - len(verdict.order[: self.top])
        if n_hidden:
            self._line(self._text(f"    … {n_hidden} more", "dim"))
        self._end()

    def write_error(self, source: Group | Failure | Mapping[str, Any], error: Exception) -> None:
        name = self._text(f"{one_line(name_of(source))}  ", "bold")
        self._line(name, self._text(f"✗ {type(error).__name__}", "red"))
        for line in str(error).splitlines():
            self._print(Padding(self._text(one_line(line), wrap=True), (0, 0, 0, 2)))
        self._end()

    def finish(self) -> None:
        self.stream.flush()

    def _table(self, verdict: Verdict) -> Table:
        group, labels = verdict.group, labels_of(verdict.group, min(LABEL_LENGTH, self.console.width // 4))
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
            is_best = verdict.ranks[i] == 1 and not verdict.abstained
            cells = [
                self._text(f"{'★' if is_best else ' '} {verdict.ranks[i]}"),
                self._text(labels[i]),
                self._text(f"{verdict.scores[i]:.3f}"),
                self._p_best(verdict.p_best[i]),
            ]
            if verdict.spread is not None:
                cells.append(self._text(f"{verdict.spread[i]:.3f}", "dim"))
            if group.rankings is not None:
                cells.append(self._given(group.rankings[i], is_hit(verdict, i)))
            cells.append(self._data(group.responses[i]))
            table.add_row(*cells, style="bold" if is_best else "")
        return table

    def _line(self, *parts: Text) -> None:
        self._print(Text.assemble(*parts), no_wrap=True)

    def _end(self) -> None:
        self.stream.write("\n")
        self.stream.flush()

    def _print(self, what: RenderableType, *, no_wrap: bool = False) -> None:
        with self.console.capture() as captured:
            self.console.print(what, no_wrap=no_wrap, overflow="ellipsis" if no_wrap else None)
        # Padding up to the last column would break the line where a terminal draws an emoji wider than rich.
        text = re.sub(r" +((?:\x1b\[[0-9;]*m)*)$", r"\1", captured.get(), flags=re.MULTILINE)
        self.stream.write(encodable(text.translate(self.signs), self.encoding))

    def _data(self, text: str, style: str = "") -> Text:
        """Somebody else's text. The console cuts what is too wide; no column needs more than 4 characters."""
        return self._text(one_line(text, 4 * self.console.width), style)

    def _text(self, text: str, style: str = "", *, wrap: bool = False) -> Text:
        overflow: Literal["fold", "ellipsis"] = "fold" if wrap else "ellipsis"
        plain = encodable(text.translate(self.signs), self.encoding)
        return Text(plain, style=style, no_wrap=not wrap, overflow=overflow)

    def _p_best(self, p: float) -> Text:
        cell = self._text(f"{percent(p):>4}")
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
