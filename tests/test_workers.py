"""Several processes over one queue: the order is kept, and a process that dies costs nothing but its own group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PARITY, Run
from tests.processes import YOJ, environment
from tests.waiting import wait_until
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import DeviceError, ModelError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.selection import BLOCK
from yoj_cli.run import workers as workers_module
from yoj_cli.run.workers import Workers

FAKE_CHILD = """
import os, pickle, sys, time
sys.path[:] = sys.argv[1:]
from yoj_cli.errors import ModelError
from yoj_cli.groups import Group
from yoj_cli.verdicts.verdict import build_verdict
from yoj_cli.run.worker import NO_GROUP, _without_group
def send(message):
    pickle.dump(message, sys.stdout.buffer)
    sys.stdout.flush()
config = pickle.load(sys.stdin.buffer)
if config.model == "broken":
    send(ModelError("it is broken", where="broken"))
send({"device": "cuda:1", "model": config.model})
while True:
    groups, media, n_before = pickle.load(sys.stdin.buffer)
    if any(group.id == "deadly" for group in groups):
        os.kill(os.getpid(), 9)
    if config.model == "deadly":
        sys.exit("no memory")
    if os.path.isdir(config.model):  # nobody goes on before both have had something
        open(f"{config.model}/{os.getpid()}", "w").close()
        while len(os.listdir(config.model)) < 2:
            time.sleep(0.002)
    time.sleep(0.002 * (n_before % 5))
    found = [build_verdict(group, [float(group.id), 0.0], n_tokens=os.getpid()) for group in groups]
    send(([_without_group(each) for each in found], False))
"""
"""A child that scores a group by its id, without torch."""


@pytest.fixture(autouse=True)
def fake_child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr(workers_module, "PROGRAM", FAKE_CHILD)


def groups(*ids: object) -> list[Group]:
    return [Group(str(each), (), ("a", "b"), where=f"data:{each}") for each in ids]


def start(n: int, model: str = "m", **options: object) -> Workers:
    return Workers([JudgeConfig(model=model)] * n, n_threads=1, **options)  # type: ignore[arg-type]


def score(workers: Workers, items: list[Group], **options: object) -> Iterator[object]:
    return workers.score_groups(items, media=MediaOptions(), live=False, **options)  # type: ignore[arg-type]


def test_results_come_in_order_from_all_processes_with_their_own_groups(tmp_path: Path) -> None:
    items = groups(*range(6 * BLOCK + 3))
    n_commits = []
    with start(2, model=str(tmp_path)) as workers:
        found = list(score(workers, items, after_window=lambda: n_commits.append(1)))
        again = list(score(workers, items[:3]))
    assert [each.group for each in found] == items  # type: ignore[attr-defined]
    assert [each.scores[0] for each in found] == list(range(len(items)))  # type: ignore[attr-defined]
    assert len({each.n_tokens for each in found}) == 2  # type: ignore[attr-defined]
    assert len(n_commits) == 7
    assert [each.group.id for each in again] == ["0", "1", "2"]  # type: ignore[attr-defined]
    assert workers.description == {"device": "cuda", "model": str(tmp_path)}


def test_blocks_end_at_fixed_numbers_wherever_the_run_goes_on() -> None:
    n, n_results = 0, []
    with start(1) as workers:
        results = score(
            workers, groups(*range(BLOCK)), n_before=BLOCK - 2, after_window=lambda: n_results.append(n)
        )
        for _ in results:
            n += 1
    assert n_results == [2, BLOCK]


def test_a_group_that_kills_its_process_is_a_failure_and_the_others_are_scored() -> None:
    said: list[str] = []
    items = groups(*range(4), "deadly", *range(5, 9))
    with start(2, say=said.append) as workers:
        found = list(score(workers, items))
        assert workers.has_shrunk
    assert [type(each).__name__ for each in found] == ["Verdict"] * 4 + ["Failure"] + ["Verdict"] * 4
    failure = found[4]
    assert isinstance(failure, Failure)
    assert str(failure.error) == "data:deadly: the process that scored this group died (SIGKILL)"
    assert len(said) == 3
    assert "died (SIGKILL); its groups are scored again by another" in said[0]


def test_processes_that_die_of_anything_end_the_run() -> None:
    with (
        start(1, model="deadly") as workers,
        pytest.raises(DeviceError, match=r"keep dying \(exit code 1: no memory\)"),
    ):
        list(score(workers, groups(*range(9))))


def test_a_judge_that_cannot_be_loaded_is_the_childs_own_error() -> None:
    with pytest.raises(ModelError, match="broken: it is broken"):
        start(2, model="broken")


def test_a_run_that_ends_early_leaves_no_process_and_no_thread() -> None:
    with start(2) as workers:
        results = score(workers, groups(*range(20 * BLOCK)))
        next(results)
        results.close()  # type: ignore[attr-defined]
        processes = [worker._process for worker in workers._workers]
    assert all(process.poll() is not None for process in processes)
    wait_until(lambda: all(not each.name.startswith("yoj-worker") for each in threading.enumerate()))


def test_a_live_stream_is_answered_group_by_group() -> None:
    asked: list[int] = []

    def slowly() -> Iterator[Group]:
        for number in range(6):
            asked.append(number)
            yield groups(number)[0]

    with start(1) as workers:
        results = workers.score_groups(slowly(), media=MediaOptions(), live=True)
        next(results)
        assert len(asked) <= 3
        results.close()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--workers", "0"), "0 is not a positive number"),
        (("--workers", "2", "--devices", "all"), "--workers: contradicts --devices"),
        (("--devices", "0,0"), "neither all nor different numbers"),
        (("--devices", "0", "--device", "cpu"), "--devices: contradicts --device"),
    ],
)
def test_contradicting_options_are_refused(
    yoj: Run, tmp_path: Path, options: tuple[str, ...], what: str
) -> None:
    (tmp_path / "data.jsonl").write_text('{"prompt": "q", "responses": ["a"]}\n')
    code, _, err = yoj("score", "-m", PARITY / "checkpoint", tmp_path / "data.jsonl", *options)
    assert (code, what in err) == (2, True), err


@pytest.mark.alone
@pytest.mark.slow
def test_two_processes_one_of_which_is_killed_give_the_file_of_one(tmp_path: Path) -> None:
    data, one, two = tmp_path / "data.jsonl", tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    data.write_text(
        "".join(
            json.dumps({"prompt": "word " * (number % 7), "responses": ["yes", "no " * (number % 11)]}) + "\n"
            for number in range(12 * BLOCK)
        )
    )
    judge = ("-m", str(PARITY / "checkpoint"), "--device", "cpu", "--quant", "none", "--dtype", "float32")
    environ = {**environment(), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*YOJ, "score", *judge, str(data), "-o", str(one)], env=environ, check=True, capture_output=True
    )
    process = subprocess.Popen(
        [*YOJ, "score", *judge, str(data), "-o", str(two), "--workers", "2"],
        env=environ,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: two.exists() and two.stat().st_size)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert b"died (SIGKILL); its groups are scored again by another" in err
    assert two.read_bytes() == one.read_bytes()
