"""Results are kept: no run empties another's, and no two write into one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PARITY, Run
from tests.processes import YOJ, environment, run
from tests.waiting import wait_until
from yoj_cli.errors import UsageError
from yoj_cli.run.result_file import open_result

JUDGE = ("-m", PARITY / "checkpoint", "--device", "cpu", "--quant", "none", "--max-batch-tokens", 1)
GROUP = {"prompt": "q", "responses": ["a", "b"]}
Write = Callable[..., Path]


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    options = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    return subprocess.Popen([*YOJ, *map(str, arguments)], **options)


def test_earlier_results_are_kept_unless_told_otherwise(yoj: Run, write_lines: Write, tmp_path: Path) -> None:
    data, result = write_lines(GROUP, GROUP), tmp_path / "out.jsonl"
    assert yoj("score", *JUDGE, data, "-o", result)[0] == 0
    before = result.read_text()
    code, out, err = yoj("score", "-m", "./no_model", data, "-o", result)
    assert (code, out) == (2, "")
    assert err == (
        f"yoj: {result}: holds results already\n"
        "Give another file, go on with an unfinished run (--resume), or replace what it holds (--overwrite).\n"
    )
    assert result.read_text() == before
    assert yoj("score", *JUDGE, data, "--limit", 1, "-o", result, "--overwrite")[0] == 0
    assert len(result.read_text().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data.jsonl",
        "out.jsonl",
        "out.jsonl.manifest.json",
    ]


@pytest.mark.parametrize("output_format", ["jsonl", "csv"])
def test_a_run_that_scores_nothing_costs_no_earlier_result_and_leaves_no_file(
    yoj: Run, write_lines: Write, tmp_path: Path, output_format: str
) -> None:
    data = write_lines({**GROUP, "responses": ["word " * 500]})
    arguments = ("score", *JUDGE, data, "--max-tokens", 100, "-f", output_format, "-o")
    assert yoj(*arguments, tmp_path / "new")[0] == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").write_text("old\n")
    assert yoj(*arguments, tmp_path / "old", "--overwrite")[0] == 2
    assert (tmp_path / "old").read_text() == "old\n"


def test_no_group_makes_an_empty_file(yoj: Run, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("\n")
    assert yoj("score", *JUDGE, tmp_path / "none.jsonl", "-o", tmp_path / "out")[0] == 0
    assert (tmp_path / "out").read_text() == ""


@pytest.mark.slow
def test_a_second_writer_is_refused_until_the_first_is_gone(write_lines: Write, tmp_path: Path) -> None:
    data, result, link = write_lines(GROUP), tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(result)
    line = json.dumps(GROUP).encode() + b"\n"
    first = start("score", *JUDGE, "-", "-o", result)
    assert first.stdin is not None
    try:
        first.stdin.write(line)
        first.stdin.flush()
        wait_until(result.exists)
        wait_until(lambda: result.read_text().endswith("\n"))  # what is finished can be read at once
        for path in (result, link):
            done = run("score", "-m", "./no_model", data, "-o", path, "--overwrite")
            assert done.returncode == 2
            assert done.stderr.decode().splitlines() == [
                f"yoj: {path}: another process ({first.pid}) writes its results to this file",
                "Wait for it, or give another file.",
            ]
        first.stdin.write(line)
        first.stdin.flush()
        wait_until(lambda: result.read_text().count("\n") == 2)
    finally:
        first.kill()
        first.communicate()
    assert result.read_text().count("\n") == 2
    done = run("score", *JUDGE, data, "-o", result, "--overwrite")  # a lock dies with its process
    assert (done.returncode, result.read_text().count("\n")) == (0, 1)
    assert not list(tmp_path.glob(".*"))


def test_the_file_is_not_there_before_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with open_result(path, overwrite=False) as file:
        assert not path.exists()
        file.write("a line\n")
        file.flush()
        assert path.read_text() == "a line\n"


def test_results_that_somebody_wrote_while_the_judge_was_loaded_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with open_result(path, overwrite=False) as file:
        path.write_text("theirs\n")
        with pytest.raises(UsageError, match="holds results already"):
            file.write("ours\n")
    assert path.read_text() == "theirs\n"


@pytest.mark.slow
def test_devices_and_pipes_are_written_as_they_are(write_lines: Write, tmp_path: Path) -> None:
    data, log = write_lines(GROUP), tmp_path / "log"
    assert run("score", *JUDGE, data, "-o", os.devnull).returncode == 0
    for name in ("/dev/stdout", "-"):
        assert json.loads(run("score", *JUDGE, data, "-o", name).stdout)["best"] in (0, 1)
    log.write_text("before\n")
    with log.open("ab") as appended:
        done = run("score", *JUDGE, data, "-o", "/dev/stdout", stdout=appended, capture_output=False)
    assert (done.returncode, log.read_text().count("\n")) == (0, 2)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        assert run("score", *JUDGE, data, "-o", fifo).returncode == 0
        assert json.loads(reader.communicate(timeout=20)[0])["best"] in (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stop"), [("out.jsonl", signal.SIGINT), (None, signal.SIGTERM), ("out.jsonl", signal.SIGHUP)]
)
def test_a_run_that_is_stopped_says_how_far_it_came(
    write_lines: Write, tmp_path: Path, name: str | None, stop: signal.Signals
) -> None:
    data = write_lines(*[GROUP] * 3000)
    result = tmp_path / (name or "stdout")
    with result.open("wb") if name is None else open(os.devnull, "wb") as stdout:
        arguments = ("-o", result) if name else ()
        process = start("score", *JUDGE, data, *arguments, stdout=stdout)
        try:
            wait_until(lambda: result.exists() and result.stat().st_size)
            process.send_signal(stop)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
            process.communicate()
    n_written = result.read_text().count("\n")
    place = f" to {result}; go on with the same command and --resume" if name else ""
    assert process.returncode == 130
    assert err.decode() == f"interrupted: {n_written:,} of 3,000 groups are written{place}\n"
    assert all(json.loads(line)["scores"] for line in result.read_text().splitlines())
