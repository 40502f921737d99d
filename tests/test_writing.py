"""Outputs on a full disk, from two processes, and after a process was killed: whole or not there."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import PARITY, Run
from tests.processes import environment
from yoj_cli.errors import UsageError
from yoj_cli.run.result_file import open_result, open_whole
from yoj_cli.storage.files import new_folder
from yoj_cli.storage.writing import lock, private_folder, write_whole

JUDGE = ("-m", PARITY / "checkpoint", "--device", "cpu", "--quant", "none")
LINE = '{"a": "' + "x" * 92 + '"}\n'  # 102 bytes


@pytest.fixture
def disk_of() -> Iterator[Callable[[int], None]]:
    """From now on no file of this process may grow beyond so many bytes: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda n_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(path: Path, lines: Iterable[str], *, flush_every: int, keep: int = 0) -> None:
    with open_result(path, overwrite=False, resume=bool(keep)) as stream:
        if keep:
            stream.go_on_after(keep)  # type: ignore[attr-defined]
        for number, line in enumerate(lines, start=1):
            stream.write(line)
            if number % flush_every == 0:
                stream.commit() if path.suffix == ".gz" else stream.flush()  # type: ignore[attr-defined]
        stream.flush()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("flush_every", [1, 7, 1000])
def test_a_full_disk_leaves_whole_lines(
    tmp_path: Path, disk_of: Callable[[int], None], flush_every: int
) -> None:
    """Into 20,000 bytes go 196 lines of 102; of lines that were flushed none is lost."""
    path = tmp_path / "out.jsonl"
    disk_of(20_000)
    with pytest.raises(OSError, match="File too large"):
        write(path, [LINE] * 1000, flush_every=flush_every)
    n_lines, rest = divmod(path.stat().st_size, 102)
    assert rest == 0
    assert 196 - flush_every < n_lines <= 196
    assert path.read_text() == LINE * n_lines
    assert names(tmp_path) == ["out.jsonl"]


def test_lines_that_were_there_are_kept_when_a_run_goes_on(
    tmp_path: Path, disk_of: Callable[[int], None]
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(LINE * 50 + LINE[:30])
    disk_of(102 * 60 + 5)
    with pytest.raises(OSError, match="File too large"):
        write(path, [LINE] * 100, flush_every=1, keep=102 * 50)
    assert path.read_text() == LINE * 60


def test_a_packed_file_ends_with_a_whole_member(tmp_path: Path, disk_of: Callable[[int], None]) -> None:
    path = tmp_path / "out.jsonl.gz"
    noise = [json.dumps({"n": number, "noise": os.urandom(500).hex()}) + "\n" for number in range(100)]
    disk_of(8_000)
    with pytest.raises(OSError, match="File too large"):
        write(path, noise, flush_every=1)
    with gzip.open(path) as lines:
        numbers = [json.loads(line)["n"] for line in lines]
    assert len(numbers) > 5
    assert numbers == list(range(len(numbers)))


def test_a_document_that_does_not_fit_costs_nothing_that_was_there(
    tmp_path: Path, disk_of: Callable[[int], None]
) -> None:
    path = tmp_path / "page.html"
    path.write_text("the page before")
    disk_of(1000)
    with pytest.raises(UsageError, match=r"page.html: cannot be written \(File too large\)"):
        write_whole(path, "x" * 5000)
    with (
        pytest.raises(UsageError, match=r"page.html: cannot be written \(File too large\)"),
        open_whole(path, overwrite=True) as stream,
    ):
        stream.write("x" * 5000)
    assert path.read_text() == "the page before"
    assert names(tmp_path) == ["page.html"]


def test_a_document_appears_at_its_end_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with open_whole(path, overwrite=False) as stream:
        stream.write("<p>")
        stream.flush()
        assert not path.exists()
    assert path.read_text() == "<p>"
    with pytest.raises(UsageError, match="holds results already"), open_whole(path, overwrite=False):
        pass
    with suppress(KeyError), open_whole(path, overwrite=True) as stream:
        stream.write("half")
        raise KeyError
    assert path.read_text() == "<p>"
    assert names(tmp_path) == ["page.html"]


def test_a_lock_refuses_a_second_writer_and_takes_away_what_the_killed_left(tmp_path: Path) -> None:
    (tmp_path / ".model.999999").mkdir()
    (tmp_path / ".model.999999" / "weights").write_text("half")
    (tmp_path / ".model.json.999999").write_text("of another file")
    with lock(tmp_path / "model"):
        assert names(tmp_path) == [".model.json.999999", ".model.lock"]
        with (
            pytest.raises(
                UsageError, match=rf"another process \({os.getpid()}\) writes its results to this folder"
            ),
            lock(tmp_path / "model", what="folder"),
        ):
            pass
    assert names(tmp_path) == [".model.json.999999"]


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "model") as aside:
        (aside / "a").write_text("1")
        with pytest.raises(UsageError, match="another process"), new_folder(tmp_path / "deep" / "model"):
            pass
    assert names(tmp_path / "deep") == ["model"]
    with pytest.raises(UsageError, match="exists already"), new_folder(tmp_path / "deep" / "model"):
        pass


def test_a_folder_whose_name_is_too_long_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="File name too long"), new_folder(tmp_path / ("x" * 300)):
        pass


def test_a_temporary_folder_ends_with_its_process_or_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = "from yoj_cli.storage.writing import private_folder; import time\n"
    program += "with private_folder('yoj-x-') as f: print(f, flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    left = Path(child.stdout.readline().decode().strip())
    os.utime(left, (0, 0))
    with private_folder("yoj-x-"):
        assert left.is_dir()  # its process is alive
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    os.utime(left, (0, 0))
    with private_folder("yoj-x-") as mine:
        assert names(tmp_path) == [mine.name]
    assert names(tmp_path) == []


@pytest.mark.slow
def test_every_command_that_writes_survives_a_full_disk(
    yoj: Run,
    write_lines: Callable[..., Path],
    tmp_path: Path,
    adapter_checkpoint: Path,
    disk_of: Callable[[int], None],
) -> None:
    """None ends with a bug's exit code, and none leaves half a file or a file aside."""
    data = write_lines(*({"prompt": f"q{n}", "responses": ["a", "b"], "rankings": [1, 2]} for n in range(60)))
    scored, out = tmp_path / "scored.jsonl", tmp_path / "out"
    assert yoj("score", *JUDGE, data, "--json", "-o", scored)[0] == 0
    vote = {"group": "g", "a": "x", "b": "y", "winner": "a"}
    votes = write_lines(*[vote] * 5, name="votes.jsonl")
    for arguments in (
        ("score", *JUDGE, data, "-o", out / "scored.jsonl"),
        ("merge", adapter_checkpoint, "-o", out / "merged"),
        ("report", scored, "-o", out / "report.html"),
        ("eval", data, *JUDGE, "--save", out / "eval"),
        ("calibrate", data, *JUDGE, "-o", out / "calibration.json", "--mode", "multi"),
        ("votes", "rank", votes, "--no-texts", "-o", out / "ranked.jsonl", "--figures", out / "figures.json"),
    ):
        out.mkdir()
        disk_of(60)
        code, _, err = yoj(*arguments)
        disk_of(1 << 40)
        assert code in (2, 3), (arguments, err)
        left = [path for path in out.rglob("*") if path.is_file() and path.stat().st_size]
        assert [path for path in left if path.name.startswith(".")] == [], arguments
        for path in left:
            assert path.suffix == ".jsonl", arguments
            assert path.read_text().endswith("\n")
        shutil.rmtree(out)
