"""`yoj score` as a user meets it: files, pipes, formats, failures."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import PARITY, Run
from tests.processes import YOJ, environment, run, run_on_terminal

MODEL = PARITY / "checkpoint"
# Groups score the same to the last digit only where they are read beside the same others.
ALONE, TOGETHER = ("--max-batch-tokens", 1), ("--max-batch-tokens", 1024)
JUDGE = ("-m", MODEL, "--device", "cpu", "--quant", "none", "--dtype", "float32", *ALONE)
GOOD = [
    {"id": "x", "prompt": "Which?", "responses": ["one", "two", "three"], "source": {"é": [1, None]}},
    {"prompt": "And?", "responses": ["no", "yes, this one"], "rankings": [2, 1]},
    {"question": "So?", "candidates": ["a", "b"]},
]
Write = Callable[..., Path]


@pytest.fixture
def score(yoj: Run) -> Run:
    def run(*arguments: object, **options: Any) -> tuple[int, str, str]:
        return yoj("score", *JUDGE, *arguments, **options)

    return run


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_lines_come_back_in_order_with_what_the_judge_says(
    score: Run, write_lines: Write, judges: Any
) -> None:
    code, out, err = score(write_lines(*GOOD))
    assert code == 0
    for line, given in zip(records(out), GOOD, strict=True):
        assert {name: line[name] for name in given} == given
        assert list(line)[: len(given)] == list(given)
        responses = given.get("responses", given.get("candidates"))
        verdict = judges(MODEL).score(prompt=given.get("prompt", given.get("question")), responses=responses)
        assert line["scores"] == pytest.approx(verdict.scores, abs=1e-6)
        assert line["ranks"] == list(verdict.ranks)
        assert line["best"] == verdict.best
        assert sum(line["p_best"]) == pytest.approx(1)
        assert line["judge"]["model"] == str(MODEL)
        assert (line["judge"]["mode"], line["judge"]["quant"]) == ("multi", "none")
    assert err.startswith("3 groups judged · ")
    assert "1 ranked group" in err


def test_standard_input_is_read_where_it_is_named_and_where_nothing_is(score: Run) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in GOOD)
    code, out, _ = score("-", stdin=lines)
    assert (code, len(records(out))) == (0, 3)
    assert score(stdin=lines)[:2] == (code, out)


def test_every_format_says_the_same(score: Run, write_lines: Write) -> None:
    data = write_lines(*GOOD)
    lines = records(score(data, "--json")[1])
    rows = list(csv.DictReader(io.StringIO(score(data, "-f", "csv")[1])))
    assert [row["id"] for row in rows] == ["x"] * 3 + ["2"] * 2 + ["3"] * 2
    for line, name in zip(lines, ("x", "2", "3"), strict=True):
        found = {int(row["index"]): float(row["score"]) for row in rows if row["id"] == name}
        assert [found[i] for i in range(len(found))] == line["scores"]
    markdown, table = score(data, "-f", "markdown")[1], score(data, "-f", "table")[1]
    for line in lines:
        for value in line["scores"]:
            assert f"{value:.3f}" in markdown
            assert f"{value:.3f}" in table


def test_limit_counts_groups_over_all_files(score: Run, write_lines: Write) -> None:
    first = write_lines(GOOD[0], "{bad", name="first.jsonl")
    second = write_lines(GOOD[1], GOOD[2], name="second.jsonl")
    code, out, err = score(first, second, "--limit", 3, "--on-error", "skip")
    assert code == 1
    assert [line.get("prompt") for line in records(out)] == ["Which?", None, "And?"]
    assert "2 groups judged · 1 failed" in err
    code, out, _ = score(first, second, "--limit", 1)
    assert (code, len(records(out))) == (0, 1)


def test_top(score: Run, write_lines: Write) -> None:
    data = write_lines(GOOD[0])
    (line,) = records(score(data, "--top", 1)[1])
    (best,) = line["top"]
    assert len(line["scores"]) == 3
    assert best["response"] == line["responses"][line["best"]]
    assert len(score(data, "--top", 2, "-f", "csv")[1].splitlines()) == 3
    assert "… 2 more" in score(data, "--top", 1, "-f", "table")[1]


def test_a_failed_group_is_reported_in_its_place_and_costs_no_other(score: Run, write_lines: Write) -> None:
    bad = [
        {"id": "gone", "prompt": "q", "responses": ["a"], "image": "gone.png"},
        "{bad",
        {"prompt": "long", "responses": ["word " * 2000]},
    ]
    data = write_lines(GOOD[0], bad[0], GOOD[1], bad[1], bad[2], GOOD[2])
    code, out, err = score(data, "--on-error", "skip", "--max-tokens", 200)
    assert code == 1
    lines = records(out)
    assert [line["error"]["type"] if "error" in line else "" for line in lines] == [
        "",
        "MediaError",
        "",
        "InputError",
        "TooLongError",
        "",
    ]
    assert lines[1]["id"] == "gone"
    for number, line in enumerate(lines, start=1):
        if "error" in line:
            assert line["error"]["message"].startswith(f"{data}:{number}: ")
            assert f"yoj: {data}:{number}: " in err
    alone = [records(score(write_lines(record, name="alone.jsonl"))[1])[0]["scores"] for record in GOOD]
    for line, wanted in zip((line for line in lines if "error" not in line), alone, strict=True):
        assert line["scores"] == pytest.approx(wanted, abs=1e-5)
    assert "3 groups judged · 3 failed" in err


def test_what_a_judge_cannot_read_ends_no_run_that_is_to_go_on(
    yoj: Run, write_lines: Write, tmp_path: Path, qwen_checkpoint: Path
) -> None:
    Image.new("RGB", (20_000, 1)).save(tmp_path / "line.png")
    bad = {"prompt": "q", "responses": ["a"], "image": "line.png"}
    data = write_lines(GOOD[0], bad, GOOD[1])
    command = ["score", data, "--model", qwen_checkpoint, "--device", "cpu"]
    code, out, _ = yoj(*command, "--on-error", "skip")
    assert code == 1
    assert [line.get("error", {}).get("type") for line in records(out)] == [None, "MediaError", None]
    code, out, err = yoj(*command)
    assert code == 2
    assert len(records(out)) == 1
    assert err.startswith(f"yoj: {data}:2: the judge's processor cannot read the group's media: ")
    assert "Traceback (most recent call last)" in yoj(*command, "--on-error", "skip", "--debug")[2]


@pytest.mark.parametrize("output_format", ["csv", "markdown", "table"])
def test_failures_are_named_in_every_format(score: Run, write_lines: Write, output_format: str) -> None:
    data = write_lines(GOOD[0], "{bad")
    code, out, _ = score(data, "--on-error", "skip", "-f", output_format)
    assert code == 1
    assert "InputError" in out
    assert "not JSON" in out


def test_the_first_failure_ends_the_run_unless_told_otherwise(score: Run, write_lines: Write) -> None:
    data = write_lines(GOOD[0], "{bad", GOOD[1])
    code, out, err = score(data)
    assert code == 2
    assert len(records(out)) == 1
    assert err.splitlines() == [
        f"yoj: {data}:2: the line is not JSON: Expecting property name enclosed in double quotes (column 2)",
        "To report such groups and score the others: --on-error skip.",
    ]


def test_pictures_are_found_beside_the_file_or_under_the_media_root(
    score: Run, write_lines: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    shutil.copy(PARITY / "img4.png", tmp_path / "pictures" / "here.png")
    data = write_lines({"prompt": "q", "responses": ["a", "b"], "image": "pictures/here.png"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    beside = score(data, "-q")
    assert beside[0] == 0
    assert score("-", "-q", "--media-root", tmp_path, stdin=data.read_text()) == beside
    assert score("-", "-q", stdin=data.read_text())[0] == 2
    code, _, err = score(data, "--media-root", elsewhere)
    assert code == 2
    assert "there is no such file" in err


def test_media_cannot_leave_the_media_root(score: Run, write_lines: Write, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.copy(PARITY / "img4.png", tmp_path / "outside.png")
    (inside / "link.png").symlink_to(tmp_path / "outside.png")
    group = {"prompt": "q", "responses": ["a"]}
    paths = [
        "../outside.png",
        str(tmp_path / "outside.png"),
        "link.png",
        "file://" + str(tmp_path / "outside.png"),
    ]
    data = write_lines(*({**group, "image": path} for path in paths))
    code, out, _ = score(data, "--on-error", "skip", "--media-root", inside)
    assert code == 1
    assert ["leads outside the media root" in line["error"]["message"] for line in records(out)] == [True] * 4


def test_media_on_the_network_is_refused_unless_allowed(score: Run, write_lines: Write) -> None:
    data = write_lines({"prompt": "q", "responses": ["a"], "image": "http://127.0.0.1:9/a.png"})
    assert "--allow-remote-media" in score(data)[2]
    assert "--allow-private-media" in score(data, "--allow-remote-media")[2]
    assert "cannot be reached" in score(data, "--allow-remote-media", "--allow-private-media")[2]


def test_an_output_file_holds_what_standard_output_would(
    score: Run, write_lines: Write, tmp_path: Path
) -> None:
    data, result = write_lines(*GOOD), tmp_path / "out.jsonl"
    result.write_text("old\n" * 100)
    code, out, _ = score(data, "-o", result, "--overwrite")
    assert (code, out) == (0, "")
    assert result.read_text(encoding="utf-8") == score(data)[1]


def test_an_output_file_that_cannot_be_written_is_found_before_the_judge_is_loaded(
    yoj: Run, write_lines: Write, tmp_path: Path
) -> None:
    data = write_lines(GOOD[0])
    folders = [(path, "Is a directory") for path in (tmp_path, Path("."), Path("/"))]
    for path, why in [(tmp_path / "no" / "x", "No such file or directory"), *folders]:
        code, _, err = yoj("score", data, "-m", tmp_path / "no_model", "-o", path)
        assert (code, err) == (2, f"yoj: {path}: cannot be written ({why})\n")


def test_a_judge_that_does_not_load_costs_no_earlier_result(
    yoj: Run, write_lines: Write, tmp_path: Path
) -> None:
    result = tmp_path / "out.jsonl"
    result.write_text("old\n")
    code, _, _ = yoj(
        "score", write_lines(GOOD[0]), "-m", tmp_path, "--device", "cpu", "-o", result, "--overwrite"
    )
    assert code == 3
    assert result.read_text() == "old\n"


def test_an_input_is_never_overwritten(yoj: Run, write_lines: Write, tmp_path: Path) -> None:
    data = write_lines(GOOD[0])
    before = data.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(data)
    for path in (data, link):
        code, _, err = yoj("score", data, "-m", tmp_path / "no_model", "-o", path)
        assert (code, err) == (2, f"yoj: {data}: the output would overwrite this input\n")
    with data.open("ab") as appended:
        assert run("score", data, stdout=appended, capture_output=False).returncode == 2
    with data.open("rb") as stdin:
        done = run("score", "-o", data, stdin=stdin)
    assert (done.returncode, done.stderr) == (2, b"yoj: stdin: the output would overwrite this input\n")
    assert data.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.jsonl"], "nope.jsonl: there is no such file"),
        (["."], ".: this is a folder, not a JSON Lines file"),
        (["-", "-"], "standard input can be read once only"),
        (["-", "--media-root", "nope"], "--media-root: there is no folder nope"),
    ],
)
def test_bad_usage_is_found_before_the_judge_is_loaded(yoj: Run, arguments: list[str], message: str) -> None:
    code, out, err = yoj("score", "-m", "./no_model", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"yoj: {message}")


def test_nothing_to_score_is_no_error(score: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert score(empty) == (0, "", "0 groups judged\n")
    assert score(empty, "-f", "csv", "-q") == (
        0,
        "id,index,rank,score,p_best,spread,order_agreement,response,error\n",
        "",
    )


def test_quiet_keeps_errors(score: Run, write_lines: Write) -> None:
    assert score(write_lines(*GOOD), "-q")[2] == ""
    data = write_lines(GOOD[0], "{bad")
    assert score(data, "-q", "--on-error", "skip")[2].startswith(f"yoj: {data}:2: ")


def test_output_is_utf_8_whatever_the_locale(
    score: Run, write_lines: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_lines({"prompt": "é 日本 😀", "responses": ["ü"]})
    for output_format in ("jsonl", "csv", "markdown"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        assert score(data, "-q", "-f", output_format)[::2] == (0, "")
        assert "ü" in raw.getvalue().decode("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_gets_tables_and_each_failure_once(write_lines: Write) -> None:
    data = write_lines(GOOD[0], "{bad", {"prompt": "long " * 100, "responses": ["word " * 100, "b"]})
    code, screen, _ = run_on_terminal(
        ["score", *JUDGE, data, "--on-error", "skip", "--max-tokens", 1000], columns=90
    )
    assert code == 1
    assert "loading " in screen
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert "★ 1" in text
    assert text.count("not JSON") == 1
    lines = [line.rpartition("\r")[2] for line in text.splitlines()]
    assert max(map(len, lines)) <= 90
    assert any(line.startswith("2 groups judged · 1 failed") for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_progress_is_on_the_terminal_and_never_in_the_data(write_lines: Write) -> None:
    data = write_lines(*GOOD * 3, "{bad")
    code, screen, out = run_on_terminal(
        ["score", *JUDGE, data, "--on-error", "skip"], columns=100, keep_stdout=True
    )
    assert code == 1
    assert len(records(out.decode())) == 10
    assert "/10" in screen
    assert "not JSON" in " ".join(screen.split())


@pytest.mark.slow
def test_a_group_from_a_slow_pipe_is_given_out_before_the_next_one_comes() -> None:
    process = subprocess.Popen(
        [*YOJ, "score", *map(str, (*JUDGE, *TOGETHER)), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for given in GOOD:
            process.stdin.write(json.dumps(given).encode() + b"\n")
            process.stdin.flush()
            line = json.loads(process.stdout.readline())  # hangs if the group waits for more input
            assert {name: line[name] for name in given} == given
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_ends_a_program_that_waits_for_input() -> None:
    with subprocess.Popen(
        [*YOJ, "score", *map(str, (*JUDGE, *TOGETHER)), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        line = json.dumps(GOOD[0]).encode() + b"\n"
        process.stdin.write(line)
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(line)
        process.stdin.flush()
        assert process.wait(60) == 0  # its standard input is still open
        assert process.stderr.read() == b""


def test_groups_score_the_same_together_and_alone(score: Run, write_lines: Write) -> None:
    data = write_lines(*GOOD * 5)
    together, alone = (records(score(data, *options)[1]) for options in ((), ("--max-batch-tokens", 1)))
    for found, wanted in zip(together, alone, strict=True):
        assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-5)


def test_a_budget_of_no_tokens_is_a_usage_error(score: Run, write_lines: Write) -> None:
    code, _, err = score(write_lines(*GOOD), "--max-batch-tokens", 0)
    assert code == 2
    assert "--max-batch-tokens: 0 is not a positive number" in err


def test_debug_says_where_the_time_went(score: Run, write_lines: Write, monkeypatch: Any) -> None:
    monkeypatch.setenv("YOJ_DEBUG", "1")
    _, _, err = score(write_lines(*GOOD))
    assert re.search(
        r"^device idle \d+% of [\d.]+ s, waiting for groups · \d passes of [\d.]+ groups", err, re.M
    )
    monkeypatch.setenv("YOJ_DEBUG", "0")
    assert "device idle" not in score(write_lines(*GOOD))[2]


@pytest.mark.parametrize(
    ("group", "advice"),
    [
        (
            {"prompt": "word " * 150, "responses": ["a", "b"]},
            r"shorten the prompt .* takes \d+ tokens by itself",
        ),
        (
            {"prompt": "q", "responses": ["a", "word " * 150]},
            r"shorten responses\[1\], which takes \d+ tokens",
        ),
        ({"prompt": "q", "responses": ["word " * 15] * 9}, r"\(--mode single\), or at most (\d) at a time"),
    ],
)
def test_what_is_too_long_is_advised_only_what_helps(
    score: Run, write_lines: Write, group: dict[str, Any], advice: str
) -> None:
    data, limit = write_lines(group), ("--max-tokens", 100)
    code, _, err = score(data, *limit)
    found = re.search(advice, err)
    assert (code, bool(found)) == (2, True), err
    assert ("--mode single" in err) == bool(found and found.groups())
    if found and found.groups():
        assert score(data, *limit, "--mode", "single")[0] == 0
        assert score(data, *limit, "--window", found[1])[0] == 0


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(gzip.compress(b"{}\n", mtime=0), mtime=0), "a gzip file"),
        ("{}\n".encode("utf-16"), "UTF-16 text"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"PK\x03\x04\x14", "a zip file"),
        (b'[\n  {"prompt": "q"}\n]\n', "one JSON array over many lines"),
        (b'{\n  "prompt": "q"\n}\n', "one JSON object over many lines"),
    ],
)
def test_another_kind_of_file_is_named_once_before_the_judge_is_loaded(
    yoj: Run, tmp_path: Path, content: bytes, kind: str
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    code, out, err = yoj("score", "-m", "./no_model", path, "--on-error", "skip")
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == f"yoj: {path}: this is {kind}, not JSON Lines"
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize(
    "line", ["{bad", {"prompt": "q"}, {"prompt": "q", "responses": ["a"], "image": "no.png"}]
)
def test_the_first_group_is_looked_at_before_the_judge_is_loaded(
    yoj: Run, write_lines: Write, line: Any
) -> None:
    data = write_lines(line)
    code, _, err = yoj("score", "-m", "./no_model", data)
    assert code == 2
    assert err.startswith(f"yoj: {data}:1: ")
    assert yoj("score", "-m", "./no_model", data, "--on-error", "skip")[0] == 3


def test_failures_of_a_kind_are_counted_after_the_first_few(score: Run, write_lines: Write) -> None:
    missing = ({"prompt": "q", "responses": ["a"], "image": f"no-{number}.png"} for number in range(50))
    code, out, err = score(write_lines(*missing), "--on-error", "skip", "-q")
    assert code == 1
    assert sum("no-49.png" in line["error"]["message"] for line in records(out)) == 1
    assert len(err.splitlines()) == 6
    assert err.splitlines()[-1].startswith("yoj: 50 groups in all: there is no such file")


def test_a_limit_beyond_what_is_there_is_no_bug(score: Run, write_lines: Write) -> None:
    assert score(write_lines(GOOD[0]), "-q", "--limit", 10**30)[0] == 0
