"""Draw architecture.svg, the rooms of the house and a record's way through them: python docs/architecture.py

The rooms and their order are declared here (`tests/test_house.py` enforces them); files and imports are read from the
package, so that the picture cannot show what is not there.
"""

from __future__ import annotations

import ast
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "yoj_cli"
PICTURE = Path(__file__).with_name("architecture.svg")

ROOMS = {
    "version": "",
    "errors": "exception tree and exit codes",
    "groups": "what flows in: Group, Message, Media, Failure",
    "line_process": "a child that answers a line in time, or is ended",
    "plan": "branches, windows, and how their scores join",
    "config": "every option, declared once",
    "records": "JSON lines to groups",
    "media": "files to pixels",
    "verdicts": "scores to ranks, agreement, output lines",
    "votes": "pairwise votes to rankings",
    "render": "text for people and programs",
    "storage": "files of models and data sets, here and on the Hub",
    "rows": "rows and media of public data sets",
    "model": "the network in memory",
    "sequence": "a group and a plan to token ids",
    "checkpoint": "read, saved, merged, quantized",
    "scoring": "the one forward path, and what feeds it",
    "client": "a judge behind a server: groups out, verdicts back",
    "rewards": "a judge as the reward of an RL trainer",
    "train": "rankings to a checkpoint",
    "bench": "what one pass saves",
    "evaluate": "how good a judge is: benchmarks, metrics, statistics",
    "run": "long runs: manifest, resume, shards",
    "data": "public preference sets to training files",
    "report": "verdicts as a page to look at",
    "serve": "a judge that answers over HTTP",
    "cli": "parse, call one function, print",
}
"""Modules and folders of the package, each importing only from those before it, with what it is for."""

FIRST_WITH_TORCH = "storage"
"""Rooms before this one never import torch."""

STEPS = {
    "records/parse": "a line of JSON becomes a Group, its media resolved",
    "media/load": "files become pixels, ahead of the device, in threads and child processes",
    "sequence/build": "prompt, media and branches of responses become a PackedSequence of token ids",
    "scoring/batch": "sequences of like lengths become rows of one Batch",
    "scoring/forward": "one forward pass: a score at the end of each response",
    "plan/join": "scores of all branches are joined, with their spread",
    "verdicts/verdict": "scores become ranks and P(best): a Verdict",
    "render/writers": "the verdict is printed, in the order of the input",
}
"""The way of one record, by module."""

WIDTH, LEFT, LABEL_WIDTH, CHAR_PX, LINE_PX, PAD_PX = 1120, 20, 330, 7.6, 24, 12


def files_of(room: str) -> list[str]:
    """The modules of a room by name; the room itself where it is a single module."""
    if (PACKAGE / f"{room}.py").is_file():
        return [room]
    return sorted(path.stem for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__")


def imports_of(room: str) -> list[str]:
    """The rooms that a room imports from, in the order of the house; all of them may import errors and version."""
    paths = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else (PACKAGE / room).glob("*.py")
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("yoj_cli."):
                found.add(node.module.split(".")[1])
    return [name for name in ROOMS if name in found - {room, "errors", "version"}]


def draw() -> str:
    """The picture as SVG."""
    numbers = {module: number for number, module in enumerate(STEPS, start=1)}
    parts: list[str] = []
    y = 72.0
    for room, job in ROOMS.items():
        if room == "version":
            continue
        band, height = _draw_room(room, job, numbers, y)
        parts.append(band)
        y += height + 8
    y += 20
    parts.append(_text(LEFT, y, "The way of one record", "title"))
    for module, text in STEPS.items():
        y += 26
        parts.append(_badge(LEFT + 10, y - 5, numbers[module]))
        parts.append(_text(LEFT + 30, y, module, "file"))
        parts.append(_text(LEFT + 190, y, text, "job"))
    height = y + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="The rooms of yoj_cli and the way of one record">'
    )
    style = (
        "<style>text{font-family:ui-sans-serif,system-ui,sans-serif;fill:#1f2933}"
        ".title{font-size:16px;font-weight:600}.room{font-size:15px;font-weight:600}.job{font-size:13px}"
        ".file{font-size:13px;font-family:ui-monospace,monospace}.uses{font-size:11px;fill:#52606d}"
        ".number{font-size:11px;font-weight:700;fill:#fff;text-anchor:middle}</style>"
    )
    paper = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>'
    title = _text(LEFT, 32, "The rooms of yoj_cli: each imports only from rooms above it", "title")
    legend = _text(
        LEFT, 54, "Grey rooms never import torch, blue ones do; the green one is the command line.", "job"
    )
    return "\n".join([head, style, paper, title, legend, *parts, "</svg>"]) + "\n"


def _draw_room(room: str, job: str, numbers: dict[str, int], y: float) -> tuple[str, float]:
    """One band, and its height."""
    names = files_of(room)
    left, right = LEFT + LABEL_WIDTH, WIDTH - LEFT - PAD_PX
    x, line, chips = float(left), 0, []
    for name in names if names != [room] else []:
        number = numbers.get(f"{room}/{name}")
        width = len(name) * CHAR_PX + (26 if number else 0)
        if x + width > right:
            x, line = float(left), line + 1
        at = y + 21 + line * LINE_PX
        if number:
            chips.append(_badge(x + 9, at - 5, number))
        chips.append(_text(x + (22 if number else 0), at, name, "file"))
        x += width + 18
    if names == [room] and room in numbers:
        chips.append(_badge(left + 9, y + 16, numbers[room]))
    uses = imports_of(room)
    height = max(48, 26 + (line + 1) * LINE_PX)
    parts = [
        f'<g id="room-{room}"><rect x="{LEFT}" y="{y:.0f}" width="{WIDTH - 2 * LEFT}" height="{height:.0f}" rx="6" '
        f'fill="{_colour(room)}"/>',
        _text(LEFT + PAD_PX, y + 21, room, "room"),
        _text(LEFT + PAD_PX, y + 39, job, "job"),
        *chips,
    ]
    if uses:
        parts.append(_text(left, y + height - 9, "imports " + ", ".join(uses), "uses"))
    return "\n".join([*parts, "</g>"]), height


def _colour(room: str) -> str:
    """Rooms that need torch are blue, those that do not are grey, the command line is green."""
    place = list(ROOMS).index(room)
    return (
        "#e3f5e8"
        if room == "cli"
        else "#e3edfb"
        if place >= list(ROOMS).index(FIRST_WITH_TORCH)
        else "#f1f3f5"
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(text)}</text>'


def _badge(x: float, y: float, number: int) -> str:
    return f'<circle cx="{x:.0f}" cy="{y:.0f}" r="9" fill="#c2410c"/>' + _text(
        x, y + 4, str(number), "number"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
