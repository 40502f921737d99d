"""Verdicts made by hand, and texts that want to be more than text."""

from __future__ import annotations

import io
from typing import Any

from yoj_cli.config.io import WrittenFormat
from yoj_cli.groups import Group, Media, Message
from yoj_cli.render.writers import open_writer
from yoj_cli.verdicts.verdict import Verdict, build_verdict

HOSTILE = (
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1b[1;1H",
    "[red]markup[/red] [/] :smile: [link=http://x]y[/link]",
    "one\ntwo\r\nthree\rfour\tfive\x0bsix\x85seven\u2028eight",
    "x" * 10_000,
    "nul \x00 del \x7f c1 \x9b31m",
    "\u202eright to left\u202c \u2066isolate\u2069",
    "lone \ud83d surrogate",
    '"quoted", and | piped | `code` <b>bold</b> **stars** \\',
    "日本語の回答は正しいです。" * 40,
    "مرحبا بالعالم",
    "👩‍👩‍👧 🇩🇪 👍🏽",
    "",
    " \n\t ",
)


def make_verdict(
    responses: tuple[str, ...],
    scores: tuple[float, ...],
    *,
    prompt: str = "Which is best?",
    group_id: str = "g1",
    rankings: tuple[float, ...] | None = None,
    spread: tuple[float, ...] | None = None,
    order_agreement: float | None = None,
    n_orders: int = 1,
    media: tuple[Media, ...] = (),
    n_tokens: int = 1234,
    seconds: float = 0.5,
    **extra: Any,
) -> Verdict:
    record = {"id": group_id, "prompt": prompt, "responses": list(responses), **extra}
    group = Group(group_id, (Message("user", (*media, prompt)),), responses, rankings, record, "d.jsonl:1")
    return build_verdict(
        group,
        scores,
        spread=spread,
        order_agreement=order_agreement,
        n_orders=n_orders,
        n_tokens=n_tokens,
        seconds=seconds,
    )


def written(output_format: WrittenFormat, *verdicts: Verdict, **options: Any) -> str:
    stream = io.StringIO()
    writer = open_writer(output_format, stream, **options)
    for verdict in verdicts:
        writer.write(verdict)
    writer.finish()
    return stream.getvalue()


THREE = make_verdict(("first answer", "second answer", "third\nanswer"), (0.0, 2.0, 1.0))
FULL = make_verdict(
    ("no", "yes", "maybe"),
    (1.5, 3.0, -2.25),
    rankings=(1, 2, 3),
    spread=(0.25, 0.5, 0.0),
    media=(Media("image", "pictures/fridge.jpg"), Media("video", "https://example.org/a/clip.mp4?x=1")),
    labels=["a.txt", "b.txt", "a/long/path/to/an/answer/file/c.txt"],
)


def hostile_verdict() -> Verdict:
    scores = tuple(float(-i) for i in range(len(HOSTILE)))
    return make_verdict(
        HOSTILE,
        scores,
        prompt="p\x1b[31m [bold]p[/bold]\nnewline \ud83d",
        group_id="id\x1b]0;t\x07",
        media=(Media("image", "a\x1b[31m\nb.png"),),
        labels=[f"{text[:3]}\x1b[2J" for text in HOSTILE],
    )
