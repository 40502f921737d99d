"""For each fault the same four figures: faults, groups lost, groups scored twice, bytes that differ."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PARITY
from tests.faults.forked import Forked
from yoj_cli.records.selection import BLOCK
from yoj_cli.run import progress as progress_module
from yoj_cli.run.manifest import path_of, read_manifest

if TYPE_CHECKING:
    from yoj_cli.scoring.judge import Judge

pytestmark = pytest.mark.slow

JUDGE = (
    "-m",
    PARITY / "checkpoint",
    "--device",
    "cpu",
    "--quant",
    "none",
    "--dtype",
    "float32",
    "--on-error",
    "skip",
)
N_GROUPS = 3 * BLOCK + 30
NOTHING_LOST = "0 groups lost, 0 scored twice, 0 bytes different"


def make_groups(n: int) -> list[dict[str, Any]]:
    draw = random.Random(3)
    made = []
    for number in range(n):
        words = " ".join(["blue"] * draw.randint(1, 30))
        made.append({"id": number, "prompt": words, "responses": ["yes", "no " * draw.randint(1, 20)]})
        if number % 97 == 5:
            made[-1]["image"] = "missing.png"
    return made


@dataclass
class Bench:
    """An input, the output of an undisturbed run, and a place for disturbed ones."""

    folder: Path
    data: Path
    whole: bytes
    judge: Judge

    def start(self, out: Path, *options: object, before: Callable[[], None] = lambda: None) -> Forked:
        arguments = ("score", *JUDGE, "--max-batch-tokens", 256, "-q", self.data, "-o", out, *options)

        def load_and_break() -> None:
            """The forks share a judge: loading is no part of what is tested here."""
            type(self.judge).from_config = lambda config: self.judge  # type: ignore[method-assign,assignment]
            before()

        return Forked(*arguments, log=self.folder / "log", before=load_and_break)

    def run(self, out: Path, *options: object) -> int:
        return self.start(out, *options).wait()

    def losses(self, out: Path) -> str:
        """What a disturbed run came to, against the undisturbed one."""
        ids = [json.loads(line)["id"] for line in out.read_bytes().splitlines()]
        n_lost = N_GROUPS - len(set(ids))
        n_different = sum(a != b for a, b in zip(out.read_bytes(), self.whole, strict=False))
        n_different += abs(len(out.read_bytes()) - len(self.whole))
        return f"{n_lost} groups lost, {len(ids) - len(set(ids))} scored twice, {n_different} bytes different"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    from yoj_cli.scoring.judge import Judge

    options = {"device": "cpu", "quant": "none", "dtype": "float32", "max_batch_tokens": 256}
    loaded = Judge.load(str(PARITY / "checkpoint"), **options)
    folder = tmp_path_factory.mktemp("faults")
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(group) + "\n" for group in make_groups(N_GROUPS)))
    found = Bench(folder, data, b"", loaded)
    assert found.run(folder / "whole.jsonl") == 1  # some fail, as they should
    found.whole = (folder / "whole.jsonl").read_bytes()
    assert found.whole.count(b"\n") == N_GROUPS
    return found


@pytest.fixture(autouse=True)
def committed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a second: each window is committed."""
    monkeypatch.setattr(progress_module, "COMMIT_EVERY_S", 0.0)


@pytest.fixture
def out(bench: Bench) -> Iterator[Path]:
    path = bench.folder / "out.jsonl"
    yield path
    for each in bench.folder.glob("*out.jsonl*"):
        each.unlink()


def wait_for_more(out: Path, process: Forked) -> None:
    n_bytes = out.stat().st_size if out.exists() else 0
    while process.is_running() and (out.stat().st_size if out.exists() else 0) <= n_bytes:
        time.sleep(0.001)


def check_close(found: bytes, expected: bytes, n_lines: int) -> None:
    """The same groups in the same order, with the same scores but for rounding."""
    rows, others = ([json.loads(line) for line in each.splitlines()[:n_lines]] for each in (found, expected))
    for row, other in zip(rows, others, strict=False):
        assert row["id"] == other["id"]
        assert row.get("scores") == pytest.approx(other.get("scores"), abs=5e-5)


def test_killed_at_fifty_moments(bench: Bench, out: Path) -> None:
    draw, n_killed = random.Random(5), 0
    while n_killed < 50:
        process = bench.start(out, "--resume")
        wait_for_more(out, process)
        time.sleep(draw.uniform(0, 0.4))
        if not process.is_running():  # done: begin anew
            assert bench.losses(out) == NOTHING_LOST
            out.unlink()
            path_of(out).unlink()
            continue
        process.kill(signal.SIGKILL)
        process.wait()
        n_killed += 1
    assert bench.run(out, "--resume") == 1
    assert bench.losses(out) == NOTHING_LOST


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_stopped_in_good_order(bench: Bench, out: Path, number: signal.Signals) -> None:
    process = bench.start(out)
    wait_for_more(out, process)
    process.kill(number)
    assert process.wait(10) == 130
    assert bench.run(out, "--resume") == 1
    assert bench.losses(out) == NOTHING_LOST


def test_interrupted_twice_ends_on_the_spot(bench: Bench, out: Path) -> None:
    process = bench.start(out)
    wait_for_more(out, process)
    process.kill(signal.SIGINT)
    time.sleep(0.002)
    process.kill(signal.SIGINT)
    assert process.wait(10) in (130, -signal.SIGINT)
    assert bench.run(out, "--resume") == 1
    assert bench.losses(out) == NOTHING_LOST


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = bench.folder / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)
    place.rmdir()


def test_a_full_disk(bench: Bench, small_disk: Path) -> None:
    out = small_disk / "out.jsonl"
    process = bench.start(out)
    assert process.wait() == 2
    assert "cannot be written (No space left on device)" in process.said()
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    assert bench.run(out, "--resume") == 1
    assert bench.losses(out) == NOTHING_LOST


def test_an_output_that_becomes_read_only(bench: Bench, small_disk: Path) -> None:
    out = small_disk / "out.jsonl"
    subprocess.run(["mount", "-o", "remount,ro,size=8m", small_disk], check=True)
    process = bench.start(out)
    assert process.wait() == 2
    assert "cannot be written (Read-only file system)" in process.said()
    subprocess.run(["mount", "-o", "remount,rw,size=8m", small_disk], check=True)
    assert bench.run(out, "--resume") == 1
    assert bench.losses(out) == NOTHING_LOST


def test_two_processes_on_one_output(bench: Bench, out: Path) -> None:
    first = bench.start(out)
    wait_for_more(out, first)
    first.kill(signal.SIGSTOP)
    second = Forked("score", *JUDGE, bench.data, "-o", out, "--resume", log=bench.folder / "log2")
    assert second.wait() == 2
    assert "writes its results to this file" in second.said()
    first.kill(signal.SIGCONT)
    assert first.wait() == 1
    assert bench.losses(out) == NOTHING_LOST


@pytest.mark.parametrize("change", ["truncated", "appended"])
def test_an_input_that_changes_meanwhile_is_noticed(bench: Bench, out: Path, change: str) -> None:
    content = bench.data.read_bytes()
    process = bench.start(out)
    wait_for_more(out, process)
    process.kill(signal.SIGSTOP)
    try:
        if change == "truncated":
            os.truncate(bench.data, len(content) * 9 // 10)
        else:
            with bench.data.open("ab") as file:
                file.write(b'{"id": "new", "prompt": "q", "responses": ["a"]}\n')
        process.kill(signal.SIGCONT)
        process.wait()
        resumed = bench.start(out, "--resume")
        assert resumed.wait() == 2
        assert "the input files are not the same, or have changed since" in resumed.said()
    finally:
        bench.data.write_bytes(content)
    n_whole = out.read_bytes().count(b"\n") - 1  # at the cut is half a line, and an error
    check_close(out.read_bytes(), bench.whole, n_whole)  # the last groups were read beside fewer


def test_the_clock_jumps(bench: Bench, out: Path) -> None:
    now, draw = time.time, random.Random(0)

    def jump() -> None:
        time.time = lambda: now() + draw.uniform(-1e6, 1e6)

    assert bench.start(out, before=jump).wait() == 1
    assert bench.losses(out) == NOTHING_LOST


def test_memory_runs_out_at_random(bench: Bench, out: Path) -> None:
    def break_memory() -> None:
        import torch

        from yoj_cli.scoring.engine import Engine

        forward, draw = Engine._forward, random.Random(1)

        def sometimes(self: Engine, sequences: Any, max_tokens: int) -> Any:
            if len(sequences) > 1 and draw.random() < 0.2:
                raise torch.OutOfMemoryError("CUDA out of memory, injected")
            return forward(self, sequences, max_tokens)

        Engine._forward = sometimes  # type: ignore[method-assign]

    assert bench.start(out, before=break_memory).wait() == 1
    check_close(out.read_bytes(), bench.whole, N_GROUPS)
    manifest = read_manifest(path_of(out))
    assert manifest is not None
    assert manifest.notes[0].startswith("memory ran out")
