"""Lines and tables, as text for a terminal or as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from yoj_cli.render.wording import one_line
from yoj_cli.render.writers import escape_markdown

WIDTH = 100
CELL_LENGTH = 60
MIN_WRAP = 36

NUMBER = re.compile(
    r"-?|[-+>]?[\d.,]+(e-\d+)?( %)?( to -?[\d.]+( %)?)?( \(.*\))?( \*)?( (groups|pairs|prompts))?"
)
"""What is set flush right."""


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Lines:
    """A line each, as they are where they fit."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; the first column holds names. A cell is anybody's text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Lines | Table


def render_text(blocks: Sequence[Block]) -> str:
    """For a terminal."""
    parts: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(one_line(block.text))
        elif isinstance(block, Lines):
            parts.append("\n".join(textwrap.fill(one_line(line), WIDTH) for line in block.lines))
        else:
            parts.append(_text_table(block))
    return "\n\n".join(parts) + "\n"


def render_markdown(blocks: Sequence[Block]) -> str:
    parts: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {escape_markdown(block.text)}")
        elif isinstance(block, Lines):
            parts.append("\n".join(f"- {escape_markdown(line)}" for line in block.lines))
        else:
            head = [block.title, *block.columns]
            marks = ["---", *("---:" if _is_numeric(block, i) else "---" for i in range(len(block.columns)))]
            rows = [[escape_markdown(cell) for cell in row] for row in (head, *block.rows)]
            rows.insert(1, marks)
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts) + "\n"


def _text_table(table: Table) -> str:
    rows = [
        [one_line(cell, CELL_LENGTH) for cell in row] for row in ((table.title, *table.columns), *table.rows)
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    spare = WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)
    widths[0] = max(min(widths[0], spare), min(widths[0], MIN_WRAP))
    right = [False, *(_is_numeric(table, i) for i in range(len(table.columns)))]
    lines = []
    for number, row in enumerate(rows):
        indent = "  " if number else ""
        names = textwrap.wrap(row[0], widths[0] + 2, initial_indent=indent, subsequent_indent="    ") or [""]
        lines += names[:-1]
        cells = [f"{names[-1]:<{widths[0] + 2}}"]
        cells += [
            f"{cell:>{width}}" if is_right else f"{cell:<{width}}"
            for cell, width, is_right in zip(row[1:], widths[1:], right[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column + 1] for row in table.rows]
    return all(NUMBER.fullmatch(cell) for cell in cells)
