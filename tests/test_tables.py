"""Verdicts as text: golden small tables, and text that wants to be more than text."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from yoj_cli.errors import MediaError
from yoj_cli.inputs.records import Group, Media, Message
from yoj_cli.outputs.ranking import Summary, Verdict, build_verdict
from yoj_cli.outputs.tables import FORMATS, Format, one_line, open_writer, render_json, render_summary

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
    media: tuple[Media, ...] = (),
    n_tokens: int = 1234,
    seconds: float = 0.5,
    **extra: Any,
) -> Verdict:
    record = {"id": group_id, "prompt": prompt, "responses": list(responses), **extra}
    group = Group(group_id, (Message("user", (*media, prompt)),), responses, rankings, record, "d.jsonl:1")
    return build_verdict(group, scores, spread=spread, n_tokens=n_tokens, seconds=seconds)


def written(output_format: Format, *verdicts: Verdict, **options: Any) -> str:
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


def test_a_small_table() -> None:
    assert written("table", THREE, width=80).splitlines() == [
        "g1  Which is best?",
        "3 responses · 1,234 tokens · 500 ms",
        "  #  response  score  P(best)        text",
        "★ 1         1  2.000   67% █████▍    second answer",
        "  2         2  1.000   24% ██        third answer",
        "  3         0  0.000    9% ▊         first answer",
        "",
    ]


def test_a_table_with_everything() -> None:
    assert written("table", FULL, width=100).splitlines() == [
        "g1  Which is best?",
        "image fridge.jpg · video clip.mp4 · 3 responses · 1,234 tokens · 500 ms",
        "  #  response                    score  P(best)            spread  given  text",
        "★ 1  b.txt                       3.000   81% █████████▊     0.500  2 ✗    yes",
        "  2  a.txt                       1.500   18% ██▏            0.250  1      no",
        "  3  …/to/an/answer/file/c.txt  -2.250   <1%                0.000  3      maybe",
        "",
    ]


def test_a_csv() -> None:
    verdict = make_verdict(
        ('say "hi", now', "two\nlines", "cr\ronly"), (0.5, 1.25, -1.0), spread=(0.0, 0.5, 1.0)
    )
    assert written("csv", verdict) == (
        "id,index,rank,score,p_best,spread,response,error\n"
        'g1,1,1,1.25,0.63380764,0.5,"two\nlines",\n'
        'g1,0,2,0.5,0.29938953,0.0,"say ""hi"", now",\n'
        'g1,2,3,-1.0,0.066802834,1.0,"cr\ronly",\n'
    )


def test_markdown() -> None:
    assert written("markdown", FULL).splitlines() == [
        "### g1: Which is best?",
        "",
        "image fridge.jpg · video clip.mp4 · 3 responses · 1,234 tokens · 500 ms",
        "",
        "| rank | response | score | P(best) | spread | given | text |",
        "|---:|---:|---:|---:|---:|---:|---|",
        "| **1** | **b.txt** | **3.000** | **81%** | **0.500** | **2 ✗** | yes |",
        "| 2 | a.txt | 1.500 | 18% | 0.250 | 1 | no |",
        "| 3 | …ath/to/an/answer/file/c.txt | -2.250 | <1% | 0.000 | 3 | maybe |",
        "",
    ]


def test_jsonl_is_utf8_without_ascii_escapes() -> None:
    verdict = make_verdict(("日本", "é"), (1.0, 0.0), prompt="😀?", spread=(0.0, 0.0))
    line = written("jsonl", verdict, judge={"model": "demo"})
    assert line.startswith('{"id": "g1", "prompt": "😀?", "responses": ["日本", "é"], "scores": [1.0, 0.0], ')
    assert line.endswith('"spread": [0.0, 0.0], "best": 0, "judge": {"model": "demo"}}\n')


def test_a_summary() -> None:
    summary = Summary()
    summary.add(FULL)
    assert render_summary(summary, seconds=0.5) == (
        "1 group judged · 1,234 tokens · 0.5 s, 2.0 groups/s\n"
        "best of N 0% (chance 33%) · pairs 67% of 3 · tau-b 0.33 · 1 ranked group"
    )
    summary.add_failure()
    assert "1 failed" in render_summary(summary)
    assert render_summary(Summary()) == "0 groups judged"


class CountingStream(io.StringIO):
    n_flushed = 0

    def flush(self) -> None:
        self.n_flushed += 1


@pytest.mark.parametrize("output_format", FORMATS)
def test_each_group_is_out_before_the_next_is_scored(output_format: Format) -> None:
    stream = CountingStream()
    writer = open_writer(output_format, stream)
    for n in (1, 2, 3):
        writer.write(THREE)
        assert stream.n_flushed >= n
        assert stream.getvalue().count("second answer") >= n
    writer.write_error({"id": 4}, ValueError("bad"))
    assert stream.n_flushed >= 4
    writer.finish()


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_failed_group_is_named_with_its_error(output_format: Format) -> None:
    stream = io.StringIO()
    writer = open_writer(output_format, stream, width=80)
    error = MediaError("no such picture: owl.jpg", where="d.jsonl:1", hint="Check --media-root.")
    writer.write_error(THREE.group, error)
    writer.write_error({"prompt": "no id"}, ValueError("boom"))
    text = stream.getvalue()
    for part in ("g1", "MediaError", "d.jsonl:1", "no such picture: owl.jpg", "Check", "ValueError", "boom"):
        assert part in text


def test_an_error_in_a_table() -> None:
    stream = io.StringIO()
    writer = open_writer("table", stream, width=40)
    error = MediaError("no such picture", where="d.jsonl:1", hint="Look for it where --media-root points to.")
    writer.write_error(THREE.group, error)
    assert stream.getvalue().splitlines() == [
        "g1  ✗ MediaError",
        "  d.jsonl:1: no such picture",
        "  Look for it where --media-root points",
        "  to.",
        "",
    ]


def test_top_shows_the_best_and_says_how_many_are_left() -> None:
    table = written("table", THREE, top=1, width=80)
    assert "second answer" in table
    assert "third" not in table
    assert "    … 2 more\n" in table
    assert "first" not in written("csv", THREE, top=2)
    assert "third" not in written("markdown", THREE, top=1)
    record = json.loads(written("jsonl", THREE, top=1))
    assert len(record["scores"]) == 3
    assert [one["response"] for one in record["top"]] == ["second answer"]


def test_every_tied_best_has_the_sign() -> None:
    table = written("table", make_verdict(("a", "b", "c"), (1.0, 1.0, 0.0), rankings=(2, 1, 3)), width=80)
    assert table.count("★ 1") == 2
    assert (table.count("✗"), table.count("✓")) == (1, 1)


def test_rankings_that_all_tie_are_no_hit() -> None:
    table = written("table", make_verdict(("a", "b"), (1.0, 0.0), rankings=(1, 1)), width=80)
    assert "✓" not in table
    assert "✗" not in table


def test_media_are_named_without_their_content() -> None:
    media = (Media("image", "data:image/png;base64," + "A" * 5000), Media("frames", "C:\\clips\\walk"))
    table = written("table", make_verdict(("a",), (0.0,), media=media), width=80)
    assert "image in the line · frames walk · 1 response" in table


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


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 44, 80, 200])
def test_a_table_holds_nothing_a_terminal_acts_on(width: int) -> None:
    text = written("table", hostile_verdict(), width=width)
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text
    )
    assert len(text.splitlines()) == 3 + len(HOSTILE) + 1
    text.encode()


def test_markup_is_shown_as_it_was_written() -> None:
    text = written("table", hostile_verdict(), width=200)
    assert "[red]markup[/red] [/] :smile: [link=http://x]y[/link]" in text
    assert "␛[31mred␛[0m ␛]0;title␇ ␛[2J␛[1;1H" in text
    assert "nul ␀ del ␡ c1 \\u009b31m" in text
    assert "\\u202eright to left\\u202c" in text


def test_only_our_own_colours_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    writer = open_writer("table", stream, width=80)
    writer.write(hostile_verdict())
    writer.write_error({"id": "x\x1b[31m"}, ValueError("y\x1b[2J\nz\x9b"))
    text = stream.getvalue()
    assert "\x1b[1m" in text
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", text)
    ours = {"0", "1", "2", "3", "31", "32", "36"}
    assert {code for codes in re.findall(r"\x1b\[([0-9;]*)m", text) for code in codes.split(";")} <= ours


def test_the_table_reads_the_same_without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    open_writer("table", stream, width=100).write(FULL)
    assert re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()) == written("table", FULL, width=100)


@pytest.mark.parametrize("width", [44, 80, 140, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    from rich.cells import cell_len

    for verdict in (hostile_verdict(), FULL, THREE):
        for line in written("table", verdict, width=width).splitlines():
            assert cell_len(line) <= width
            assert line == line.rstrip(" ")


def test_a_stream_without_our_signs_gets_plain_ones() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    writer = open_writer("table", stream, width=80)
    for verdict in (FULL, hostile_verdict()):
        writer.write(verdict)
    writer.write_error({"id": "é"}, ValueError("ü"))
    text = raw.getvalue().decode("ascii")
    assert "* 1" in text
    assert "2 x" in text
    assert "\\u65e5" in text


def test_a_markdown_row_stays_a_row() -> None:
    lines = written("markdown", hostile_verdict()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert any(r"\| piped \| \`code\` &lt;b&gt;bold&lt;/b&gt; \*\*stars\*\* \\" in row for row in rows)
    assert max(map(len, rows)) < 300


def test_a_csv_gives_back_every_text() -> None:
    rows = list(csv.reader(io.StringIO(written("csv", hostile_verdict()).replace("\0", "NUL"), newline="")))
    assert [row[6] for row in rows[1:]] == [
        text.replace("\0", "NUL").replace("\ud83d", "\\ud83d") for text in HOSTILE
    ]
    assert {len(row) for row in rows} == {8}


def test_jsonl_gives_back_every_text_even_half_a_character() -> None:
    line = written("jsonl", hostile_verdict(), top=len(HOSTILE))
    assert line.count("\n") == 1
    record = json.loads(line.encode())
    assert record["responses"] == list(HOSTILE)
    assert [one["response"] for one in record["top"]] == list(HOSTILE)


def test_half_a_character_is_the_only_escape() -> None:
    assert render_json({"a": "\ud83d x é \\ud83d"}) == '{"a": "\\ud83d x é \\\\ud83d"}'


@pytest.mark.parametrize(
    ("text", "length", "line"),
    [
        ("a\n\n b\tc ", None, "a b c"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("ab cdefg", 4, "ab…"),
        ("\x1b[0m", None, "␛[0m"),
        ("\n" * 99 + "a" * 10_000, 4, "aaa…"),
        ("a" + " " * 10_000 + "b", 4, "a …"),
        ("", 4, ""),
    ],
)
def test_one_line(text: str, length: int | None, line: str) -> None:
    assert one_line(text, length) == line


def test_rich_is_not_loaded_before_a_table_is_opened() -> None:
    code = (
        "import io, sys; from yoj_cli.outputs.tables import open_writer; import yoj_cli.plan\n"
        "assert not {'rich', 'numpy', 'torch'} & set(sys.modules), 'at import'\n"
        "open_writer('jsonl', io.StringIO()); assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
