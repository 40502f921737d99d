"""`yoj rank` as a user meets it: files, literals, pictures, clips."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PARITY, Run
from tests.processes import run_on_terminal

MODEL = PARITY / "checkpoint"
JUDGE = ("-m", MODEL, "--device", "cpu", "--quant", "none", "--dtype", "float32")


@pytest.fixture
def rank(yoj: Run) -> Run:
    def run(*arguments: object, **options: Any) -> tuple[int, str, str]:
        return yoj("rank", *JUDGE, *arguments, **options)

    return run


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two responses, one with a mark and line ends from Windows."""
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n\n")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    return [tmp_path / "a.txt", tmp_path / "b.txt"]


def line_of(out: str) -> dict[str, Any]:
    (line,) = out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_files_come_first_then_literals(rank: Run, files: list[Path], judges: Any) -> None:
    code, out, err = rank("-t", "x", "-r", files[0], "-p", "q", "-r", files[1], "-t", "y")
    assert (code, err) == (0, "")
    line = line_of(out)
    responses = ["one\ntwo\n", "one\r\ntwo", "x", "y"]
    assert list(line)[:3] == ["prompt", "responses", "labels"]
    assert (line["prompt"], line["responses"]) == ("q", responses)
    assert line["labels"] == [str(files[0]), str(files[1]), "text 1", "text 2"]
    expected = judges(MODEL).score(prompt="q", responses=responses).scores
    assert line["scores"] == pytest.approx(expected, abs=1e-6)


def test_the_prompt_from_a_file_or_standard_input(rank: Run, files: list[Path]) -> None:
    assert line_of(rank("-p", f"@{files[1]}", "-t", "a")[1])["prompt"] == "one\r\ntwo"
    assert line_of(rank("-p", "@-", "-t", "a", stdin="what?\n")[1])["prompt"] == "what?"
    line = line_of(rank("-p", "", "-r", "-", stdin="an answer\n")[1])
    assert (line["prompt"], line["responses"], line["labels"]) == ("", ["an answer"], ["stdin"])


def test_a_picture_is_to_be_described_unless_something_is_asked(rank: Run) -> None:
    picture = str(PARITY / "img5.png")
    code, out, _ = rank("-i", picture, "-t", "a", "-t", "b", "-f", "table")
    assert code == 0
    assert out.splitlines()[0] == "Describe this image."
    assert out.splitlines()[1].startswith("image img5.png · 2 responses · ")
    line = line_of(rank("--image", picture, "-t", "a", "-t", "b")[1])
    assert "prompt" not in line
    assert line["images"] == [picture]


def test_a_title_is_the_question_and_no_made_up_name(rank: Run) -> None:
    assert rank("-p", "Which one?", "-t", "a", "-f", "table")[1].splitlines()[0] == "Which one?"
    assert rank("-p", "Which one?", "-t", "a", "-f", "markdown")[1].splitlines()[0] == "### Which one?"
    (row,) = csv.DictReader(io.StringIO(rank("-p", "q", "-t", "a", "-f", "csv")[1]))
    assert (row["id"], row["response"]) == ("", "a")


def test_spread_over_orders(rank: Run) -> None:
    line = line_of(rank("-p", "q", "-t", "a", "-t", "b", "-t", "c", "--orders", 3)[1])
    assert len(line["spread"]) == 3
    assert line["judge"]["orders"] == 3
    assert 0 <= line["order_agreement"] <= 1


def test_more_orders_than_there_are_name_those_that_were_read(rank: Run) -> None:
    record = line_of(rank("-p", "q", "-t", "a", "-t", "b", "-t", "c", "--orders", 99_999)[1])
    assert record["judge"]["orders"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "q"], "no responses\nGive at least one with -r FILE or -t TEXT."),
        (["-t", "a"], 'text alone needs a prompt\nGive one with -p "…" or -p @FILE.'),
        (["-p", "q", "-r", "nope.txt"], "nope.txt: there is no such file"),
        (["-p", "q", "-r", "."], ".: cannot be read (Is a directory)"),
        (
            ["-p", "@nope.txt", "-t", "a"],
            "--prompt: there is no file 'nope.txt'\nA prompt that begins with @",
        ),
        (
            ["-p", "@", "-t", "a"],
            "--prompt: no file is named after the @\nA prompt that begins with @ itself",
        ),
        (["-i", "nope.png", "-t", "a"], "nope.png: there is no such file"),
        (["-p", "@-", "-r", "-"], "standard input can be read once only"),
        (["-p", "q", "-r", "-", "-r", "-"], "standard input can be read once only"),
        (["-p", "q", "-t", "a", "--media-root", "nope"], "--media-root: there is no folder nope"),
        (["-p", "q", "-t", "a", "--mode", "single", "--orders", "2"], "--orders: single reads each response"),
    ],
)
def test_bad_usage_is_found_before_the_judge_is_loaded(yoj: Run, arguments: list[str], message: str) -> None:
    code, out, err = yoj("rank", "-m", "./no_model", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"yoj: {message}")


def test_a_response_that_is_not_utf_8(yoj: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9")
    assert yoj("rank", "-p", "q", "-r", path)[::2] == (2, f"yoj: {path}: is not UTF-8 text (byte 3)\n")


def test_a_text_that_the_locale_hid_is_read(rank: Run) -> None:
    hidden = "日本".encode().decode("ascii", "surrogateescape")
    line = line_of(rank("-p", hidden, "-t", hidden)[1])
    assert (line["prompt"], line["responses"]) == ("日本", ["日本"])
    assert rank("-p", "q", "-t", "\udcff")[::2] == (2, "yoj: --text 1: is not UTF-8 text (byte 0)\n")
    assert rank("-p", "q", "-t", "a", "-t", "b\udcff")[2] == "yoj: --text 2: is not UTF-8 text (byte 1)\n"
    assert rank("-p", "\udcff", "-t", "a")[2] == "yoj: --prompt: is not UTF-8 text (byte 0)\n"


def test_a_file_that_is_read_is_not_overwritten(yoj: Run, files: list[Path]) -> None:
    code, _, err = yoj("rank", "-m", "./no_model", "-p", "q", "-r", files[0], "-o", files[0])
    assert (code, err) == (2, f"yoj: {files[0]}: the output would overwrite this input\n")
    assert files[0].read_bytes() == b"one\ntwo\n\n"


def test_earlier_results_are_kept_unless_told_otherwise(rank: Run, tmp_path: Path) -> None:
    result, arguments = tmp_path / "out.jsonl", ("-p", "q", "-t", "a", "-t", "b")
    assert rank(*arguments, "-o", result) == (0, "", "")
    before = result.read_text()
    code, _, err = rank(*arguments, "-o", result)
    assert (code, err.splitlines()[0]) == (2, f"yoj: {result}: holds results already")
    assert result.read_text() == before
    assert rank("-p", "another", "-t", "a", "-o", result, "--overwrite")[0] == 0
    assert json.loads(result.read_text())["prompt"] == "another"


def test_a_picture_that_cannot_be_read_is_found_before_the_judge_is_loaded(yoj: Run, tmp_path: Path) -> None:
    picture = tmp_path / "text.png"
    picture.write_text("no picture")
    code, _, err = yoj("rank", "-m", "./no_model", "-i", picture, "-t", "a")
    assert code == 2
    assert err.startswith(f"yoj: {picture}: not a picture")


def huge_png(path: Path) -> Path:
    """A header that claims 10000 x 9000 pixels, over our limit and over the one where Pillow warns."""
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 9_000, 8, 2, 0, 0, 0)
    chunks = [(13, header), (0, b"IDAT"), (0, b"IEND")]
    data = [struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body)) for size, body in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data))
    return path


def test_pillow_does_not_talk_beside_our_own_error(rank: Run, tmp_path: Path) -> None:
    picture = huge_png(tmp_path / "huge.png")
    code, out, err = rank("-i", picture, "-t", "a")
    assert (code, out) == (2, "")
    assert err == (
        f"yoj: {picture}: the picture is too large: it is 10000 x 9000 pixels, and the limit is 50,400,000 pixels "
        "(--max-picture-mp)\n"
        "Scale it down; the judge looks at far fewer pixels than this.\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_on_a_terminal_the_best_is_marked_and_quiet_is_quiet(files: list[Path]) -> None:
    arguments = ["rank", *JUDGE, "-q", "-p", "Which?", "-r", files[0], "-t", "\x1b[31mred"]
    code, screen, _ = run_on_terminal(arguments, columns=140)
    assert code == 0
    assert "loading" not in screen
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen)
    title, facts, header, first, second, blank = text.splitlines()
    assert title == "Which?"
    assert facts.startswith("2 responses · ")
    assert header.split() == ["#", "response", "score", "P(best)", "text"]
    assert (first[:3], second[:3], blank) == ("★ 1", "  2", "")
    assert "␛[31mred" in text
