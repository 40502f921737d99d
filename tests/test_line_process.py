"""A child that answers lines: it is asked from any thread, and costs one question when it hangs or dies."""

from __future__ import annotations

import gc
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from yoj_cli.line_process import LineProcess, NoReplyError

PROGRAM = """
import json, sys, time
first = json.loads(sys.stdin.readline())
for line in sys.stdin:
    question = json.loads(line)
    if question == "hang":
        time.sleep(60)
    print(json.dumps([first, question]) if question != "babble" else "no JSON", flush=True)
"""


def start(limit_s: float = 20.0) -> LineProcess:
    return LineProcess([sys.executable, "-I", "-S", "-c", PROGRAM], "first", limit_s=limit_s)


def pid_of(lines: LineProcess) -> int:
    assert lines._process is not None
    return lines._process.pid


def test_it_starts_with_the_first_question_and_answers_each_in_the_same_process() -> None:
    lines = start()
    assert lines._process is None
    assert lines.ask({"é": 1}) == ["first", {"é": 1}]
    pid = pid_of(lines)
    assert lines.ask("again") == ["first", "again"]
    assert pid_of(lines) == pid


def test_it_may_be_asked_from_many_threads() -> None:
    lines = start()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lines.ask, range(200)))
    assert found == [["first", number] for number in range(200)]


def test_an_answer_that_takes_too_long_costs_its_question_and_the_process() -> None:
    lines = start(limit_s=1.0)
    assert lines.ask(1) == ["first", 1]
    began = time.monotonic()
    with pytest.raises(NoReplyError, match="did not end within 1 s"):
        lines.ask("hang")
    assert time.monotonic() - began < 5
    assert lines.ask(2) == ["first", 2]


def test_a_process_that_was_killed_costs_one_question() -> None:
    lines = start()
    assert lines.ask(1) == ["first", 1]
    assert lines._process is not None
    os.kill(pid_of(lines), 9)
    lines._process.wait()
    with pytest.raises(NoReplyError, match="ended its process"):
        lines.ask(2)
    assert lines.ask(3) == ["first", 3]


def test_what_is_no_json_costs_one_question() -> None:
    lines = start()
    with pytest.raises(NoReplyError, match="ended its process"):
        lines.ask("babble")
    assert lines.ask(1) == ["first", 1]


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_process_ends_with_what_it_was_started_for(is_closed: bool) -> None:
    lines = start()
    lines.ask(1)
    pid = pid_of(lines)
    if is_closed:
        lines.close()
        assert not psutil.pid_exists(pid)
        assert lines.ask(2) == ["first", 2]  # a further question starts it again
        pid = pid_of(lines)
    del lines
    gc.collect()
    assert not psutil.pid_exists(pid)
