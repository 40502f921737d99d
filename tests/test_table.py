"""The table for people: golden small ones, and what a terminal is given."""

from __future__ import annotations

import io
import re

import pytest

from tests.verdicts import FULL, HOSTILE, THREE, hostile_verdict, make_verdict, written
from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.render.writers import open_writer


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


def test_a_table_says_how_many_orders_agree_on_the_best() -> None:
    options = {"spread": (0.25, 0.5), "n_orders": 3}
    for agreement, words in ((2 / 3, "2 of 3"), (1.0, "3 of 3"), (0.0, "0 of 3"), (0.5, "1.5 of 3")):
        verdict = make_verdict(("a", "b"), (1.0, 0.0), order_agreement=agreement, **options)
        facts = written("table", verdict, width=80).splitlines()[1]
        assert facts == f"2 responses · best in {words} orders · 1,234 tokens · 500 ms"


def test_a_group_without_a_name_has_its_prompt_as_title() -> None:
    lines = written("table", make_verdict(("a",), (0.0,), group_id=""), width=80).splitlines()
    assert lines[0] == "Which is best?"


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
