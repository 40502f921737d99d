"""Shards on a Ray cluster: what is done is kept, whatever dies, and the whole is that of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.conftest import PARITY, Run
from tests.processes import YOJ, environment
from tests.waiting import wait_until
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import YojError
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.selection import BLOCK
from yoj_cli.run.manifest import fingerprint
from yoj_cli.run.places import read_shard_manifest, shard_path
from yoj_cli.run.shard_task import ShardedRun, ShardScorer

JUDGE = ("-m", str(PARITY / "checkpoint"), "--device", "cpu", "--quant", "none", "--dtype", "float32", "-q")
N_SHARDS = 6


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    line = '{"prompt": "%s", "responses": ["a", "b b"]}\n'
    path.write_text("".join(line % ("word " * (number % 13)) for number in range(N_SHARDS * BLOCK + 5)))
    return path


@pytest.fixture
def memory() -> Iterator[str]:
    """A store of fsspec's own, in this process."""
    files = fsspec.filesystem("memory")
    yield "memory://bucket"
    files.store.clear()


def sharded(inputs: list[str], output: str, **changes: object) -> ShardedRun:
    options = {
        "inputs": fingerprint(inputs),
        "output": output,
        "n_shards": 2,
        "judge": JudgeConfig(model=str(PARITY / "checkpoint"), device="cpu", quant="none", dtype="float32"),
        "media": MediaOptions(),
        "media_root": None,
        "top": None,
        "limit": None,
        "stops": False,
        **changes,
    }
    return ShardedRun(**options)  # type: ignore[arg-type]


def put(address: str, content: bytes) -> str:
    with fsspec.open(address, "wb") as file:
        file.write(content)
    return address


def test_a_shard_is_read_from_a_store_and_written_to_it_with_its_pictures(memory: str) -> None:
    from PIL import Image

    with fsspec.open(f"{memory}/in/red.png", "wb") as file:
        Image.new("RGB", (40, 40), "red").save(file, "png")
    line = {"prompt": "q", "image": "red.png", "responses": ["a", "b"]}
    missing = {**line, "image": "blue.png"}
    data = put(f"{memory}/in/data.jsonl", f"{json.dumps(line)}\n{json.dumps(missing)}\n".encode())
    run = sharded([data], f"{memory}/out/scored.jsonl.gz", media=MediaOptions(allow_remote=True))
    done = ShardScorer(run)({"shard": [0, 1]})
    assert done == {"shard": [0, 1], "n_done": [2, 0], "n_failed": [1, 0], "error": ["", ""]}
    path = shard_path(run.output, 0, 2)
    assert path == f"{memory}/out/scored.0-of-2.jsonl.gz"
    manifest = read_shard_manifest(path)
    assert manifest is not None
    assert (manifest.n_done, manifest.n_failed, manifest.finished) == (2, 1, True)
    with fsspec.open(path, compression="gzip") as file:
        rows = [json.loads(line) for line in file]
    assert "scores" in rows[0]
    assert rows[1]["error"]["message"] == f"{data}:2: {memory}/in/blue.png: there is no such file"


def test_shards_in_a_store_are_gathered(yoj: Run, memory: str, tmp_path: Path) -> None:
    data = put(f"{memory}/data.jsonl", b'{"prompt": "q", "responses": ["a", "b"]}\n' * (BLOCK + 1))
    ShardScorer(sharded([data], f"{memory}/out/o.jsonl"))({"shard": [1, 0]})
    code, _, err = yoj("gather", f"{memory}/out/o.*", "-o", tmp_path / "all.jsonl")
    assert (code, err) == (0, f"gathered: {BLOCK + 1} groups\n")
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == BLOCK + 1
    assert yoj("gather", f"{memory}/nothing/o.*", "-o", tmp_path / "all.jsonl")[0] == 2


def test_media_of_a_store_need_leave_as_those_of_the_web_do(memory: str) -> None:
    data = put(f"{memory}/data.jsonl", b'{"image": "red.png", "responses": ["a", "b"]}\n')
    run = sharded([data], f"{memory}/o.jsonl", stops=True, n_shards=1)
    (error,) = ShardScorer(run)({"shard": [0]})["error"]
    assert "media on the network is not fetched unless that is allowed" in error
    assert read_shard_manifest(shard_path(run.output, 0, 1)) is None


@pytest.mark.parametrize("address", ["zip://a.zip::memory://b", "sftp://host/a.png", "memory://a::b"])
def test_chains_and_other_schemes_are_no_addresses(address: str) -> None:
    from yoj_cli.records.stores import is_store

    assert not is_store(address)


def test_a_shard_of_another_run_is_refused(memory: str) -> None:
    data = put(f"{memory}/data.jsonl", b'{"prompt": "q", "responses": ["a", "b"]}\n')
    run = sharded([data], f"{memory}/o.jsonl")
    scorer = ShardScorer(run)
    earlier = scorer.score(0)
    other = ShardScorer(sharded([data], f"{memory}/o.jsonl", top=1, earlier=earlier))
    assert "top is not stated there and 1 here" in other({"shard": [1]})["error"][0]


def test_a_judge_that_cannot_be_loaded_fails_each_shard_by_name(memory: str) -> None:
    data = put(f"{memory}/data.jsonl", b"{}\n")
    scorer = ShardScorer(sharded([data], f"{memory}/o.jsonl", judge=JudgeConfig(model="./nothing")))
    assert scorer({"shard": [0, 1]})["error"] == ["./nothing: there is no such folder"] * 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ((), "needs files to read, and -o FILE"),
        (("-o", "x", "--shard", "0/2"), "contradicts --shard"),
        (("-o", "x", "-f", "csv"), "-o FILE as JSON Lines"),
    ],
)
def test_contradicting_options_are_refused(yoj: Run, data: Path, options: tuple[str, ...], what: str) -> None:
    code, _, err = yoj("score", *JUDGE, data, "--engine", "ray", *options)
    assert (code, what in err) == (2, True), err


def test_an_output_that_cannot_be_written_is_an_error(memory: str, tmp_path: Path) -> None:
    data = put(f"{memory}/data.jsonl", b'{"prompt": "q", "responses": ["a", "b"]}\n')
    (tmp_path / "file").write_text("")
    with pytest.raises(YojError, match="cannot be written"):
        ShardScorer(sharded([data], str(tmp_path / "file" / "o.jsonl"))).score(0)


def start(data: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    arguments = [*JUDGE, str(data), "-o", str(out), "--engine", "ray", "--shards", str(N_SHARDS), *options]
    return subprocess.Popen(
        [*YOJ, "score", *arguments],
        env=environment(OMP_NUM_THREADS="1"),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.alone
@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_cost_what_was_under_way(
    yoj: Run, data: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    one_thread = environment(OMP_NUM_THREADS="1")  # another number of threads gives other last digits
    subprocess.run(
        [*YOJ, "score", *JUDGE, data, "-o", whole], env=one_thread, check=True, capture_output=True
    )

    def finished() -> list[Path]:
        return sorted(tmp_path.glob("parts.*.manifest.json"))

    process = start(data, out, "--workers", "2")
    wait_until(finished)
    workers = subprocess.run(["pgrep", "-f", "ray::MapWorker"], capture_output=True, text=True, check=False)
    os.kill(int(workers.stdout.split()[0]), signal.SIGKILL)
    wait_until(lambda: len(finished()) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in finished()}
    assert len(before) >= 2

    _, err = start(data, out, "--workers", "2").communicate()
    assert b"shards are there already" in err
    process = start(data, out, "--workers", "2", "--resume")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none was done again
    assert len(finished()) == N_SHARDS
    assert yoj("gather", *tmp_path.glob("parts.*"), "-o", tmp_path / "all.jsonl")[0] == 0
    assert (tmp_path / "all.jsonl").read_bytes() == whole.read_bytes()
