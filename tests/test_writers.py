"""jsonl, csv and markdown: golden small ones, and texts that come back whole."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import get_args

import pytest

from tests.verdicts import FULL, HOSTILE, THREE, hostile_verdict, make_verdict, written
from yoj_cli.config.io import WrittenFormat
from yoj_cli.errors import MediaError
from yoj_cli.groups import Failure
from yoj_cli.render.wording import BIDI_CONTROLS
from yoj_cli.render.writers import open_writer, render_json


def test_a_csv() -> None:
    verdict = make_verdict(
        ('say "hi", now', "two\nlines", "cr\ronly"),
        (0.5, 1.25, -1.0),
        spread=(0.0, 0.5, 1.0),
        order_agreement=0.25,
        n_orders=4,
    )
    assert written("csv", verdict) == (
        "id,index,rank,score,p_best,spread,order_agreement,response,error\n"
        'g1,1,1,1.25,0.63380766,0.5,0.25,"two\nlines",\n'
        'g1,0,2,0.5,0.29938954,0.0,0.25,"say ""hi"", now",\n'
        'g1,2,3,-1.0,0.06680284,1.0,0.25,"cr\ronly",\n'
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


def test_markdown_says_how_many_orders_agree_on_the_best() -> None:
    verdict = make_verdict(("a", "b"), (1.0, 0.0), spread=(0.5, 0.5), order_agreement=0.5, n_orders=2)
    assert written("markdown", verdict).splitlines()[2] == (
        "2 responses · best in 1 of 2 orders · 1,234 tokens · 500 ms"
    )


def test_jsonl_is_utf8_without_ascii_escapes() -> None:
    verdict = make_verdict(("日本", "é"), (1.0, 0.0), prompt="😀?", spread=(0.0, 0.0))
    line = written("jsonl", verdict, judge={"model": "demo"})
    assert line.startswith('{"id": "g1", "prompt": "😀?", "responses": ["日本", "é"], "scores": [1.0, 0.0], ')
    assert line.endswith('"spread": [0.0, 0.0], "best": 0, "judge": {"model": "demo", "orders": 1}}\n')


class CountingStream(io.StringIO):
    n_flushed = 0

    def flush(self) -> None:
        self.n_flushed += 1


@pytest.mark.parametrize("output_format", get_args(WrittenFormat))
def test_each_group_is_out_before_the_next_is_scored(output_format: WrittenFormat) -> None:
    stream = CountingStream()
    writer = open_writer(output_format, stream)
    for n in (1, 2, 3):
        writer.write(THREE)
        assert stream.n_flushed >= n
        assert stream.getvalue().count("second answer") >= n
    writer.write_error({"id": 4}, ValueError("bad"))
    assert stream.n_flushed >= 4
    writer.finish()


@pytest.mark.parametrize("output_format", get_args(WrittenFormat))
def test_a_failed_group_is_named_with_its_error(output_format: WrittenFormat) -> None:
    stream = io.StringIO()
    writer = open_writer(output_format, stream, width=80)
    error = MediaError("no such picture: owl.jpg", where="d.jsonl:1", hint="Check --media-root.")
    writer.write_error(THREE.group, error)
    writer.write_error({"prompt": "no id"}, ValueError("boom"))
    writer.write_error(Failure("d.jsonl:4711", {"prompt": "q"}, error), error)
    text = stream.getvalue()
    assert output_format == "jsonl" or "4711" in text
    for part in ("g1", "MediaError", "d.jsonl:1", "no such picture: owl.jpg", "Check", "ValueError", "boom"):
        assert part in text


def test_top_shows_the_best_and_says_how_many_are_left() -> None:
    table = written("table", THREE, top=1, width=80)
    assert "second answer" in table
    assert "third" not in table
    assert "    … 2 more\n" in table
    assert "first" not in written("csv", THREE, top=2)
    markdown = written("markdown", THREE, top=1)
    assert "third" not in markdown
    assert markdown.endswith("\n\n… 2 more\n\n")
    record = json.loads(written("jsonl", THREE, top=1))
    assert len(record["scores"]) == 3
    assert [one["response"] for one in record["top"]] == ["second answer"]


def test_a_markdown_row_stays_a_row() -> None:
    lines = written("markdown", hostile_verdict()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    assert any(r"\| piped \| \`code\` &lt;b&gt;bold&lt;/b&gt; \*\*stars\*\* \\" in row for row in rows)
    assert max(map(len, rows)) < 300


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11 csv writes no NUL")
def test_a_csv_gives_back_every_text_where_that_is_asked_for() -> None:
    rows = list(
        csv.reader(io.StringIO(written("csv", hostile_verdict(), raw=True).replace("\0", "NUL"), newline=""))
    )
    assert [row[7] for row in rows[1:]] == [
        text.replace("\0", "NUL").replace("\ud83d", "\\ud83d") for text in HOSTILE
    ]
    assert {len(row) for row in rows} == {9}


FORMULAS = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "plain", "")


def test_a_csv_cell_is_nothing_that_a_spreadsheet_runs() -> None:
    verdict = make_verdict(FORMULAS, tuple(float(-i) for i in range(len(FORMULAS))), group_id="=id()")
    rows = list(csv.reader(io.StringIO(written("csv", verdict), newline="")))[1:]
    assert [row[7] for row in rows] == [*(f"'{text}" for text in FORMULAS[:-2]), "plain", ""]
    assert {row[0] for row in rows} == {"'=id()"}
    assert rows[1][3] == "-1.0"  # a number of ours is one
    raw = list(csv.reader(io.StringIO(written("csv", verdict, raw=True), newline="")))[1:]
    assert [row[7] for row in raw] == list(FORMULAS)


@pytest.mark.parametrize("output_format", get_args(WrittenFormat))
def test_nothing_that_is_printed_is_acted_on_by_a_terminal(output_format: WrittenFormat) -> None:
    text = written(output_format, hostile_verdict(), width=80)
    found = {char for char in text if char < " " or "\x7f" <= char <= "\x9f"} - set("\n\t\r")
    assert not found
    assert not BIDI_CONTROLS & set(text)
    assert output_format == "csv" or not set("\t\r") & set(text)  # quoted, in a cell


def test_an_error_in_a_csv_is_disarmed_too() -> None:
    stream = io.StringIO()
    open_writer("csv", stream).write_error({"id": "+id"}, MediaError("\x1b[2Jboom"))
    assert stream.getvalue().splitlines()[1] == "'+id,,,,,,,,MediaError: ␛[2Jboom"


def test_jsonl_gives_back_every_text_even_half_a_character() -> None:
    line = written("jsonl", hostile_verdict(), top=len(HOSTILE))
    assert line.count("\n") == 1
    record = json.loads(line.encode())
    assert record["responses"] == list(HOSTILE)
    assert [one["response"] for one in record["top"]] == list(HOSTILE)


def test_half_a_character_and_what_a_terminal_acts_on_are_the_only_escapes() -> None:
    assert render_json({"a": "\x9b2J \x7f \u202e é"}) == '{"a": "\\u009b2J \\u007f \\u202e é"}'
    assert render_json({"a": "\ud83d x é \\ud83d"}) == '{"a": "\\ud83d x é \\\\ud83d"}'


def test_rich_is_not_loaded_before_a_table_is_opened() -> None:
    code = (
        "import io, sys; from yoj_cli.render.writers import open_writer; import yoj_cli.plan.join\n"
        "assert not {'rich', 'numpy', 'torch'} & set(sys.modules), 'at import'\n"
        "open_writer('jsonl', io.StringIO()); assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
