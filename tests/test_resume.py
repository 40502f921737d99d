"""A run stops anywhere and goes on; the output is the one it would have been, to the last byte."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PARITY, Run
from yoj_cli.cli.score_run import ScoreRun
from yoj_cli.records.selection import BLOCK
from yoj_cli.run import progress as progress_module
from yoj_cli.run.manifest import path_of, read_manifest
from yoj_cli.verdicts.calibration import Calibration, Temperature

JUDGE = ("-m", PARITY / "checkpoint", "--device", "cpu", "--quant", "none", "--on-error", "skip", "-q")
Score = Callable[..., tuple[int, str, str]]


def groups(n: int) -> list[dict[str, Any]]:
    """Groups of many lengths; every 50th fails."""
    draw = random.Random(0)
    made = []
    for number in range(n):
        words = ["red circle"] * draw.randint(1, 9)
        made.append(
            {"id": number, "prompt": " ".join(words), "responses": ["yes", "no " * draw.randint(1, 9)]}
        )
        if number % 50 == 7:
            made[-1]["image"] = "missing.png"
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(group) + "\n" for group in groups(BLOCK + 40)))
    return path


@pytest.fixture
def score(yoj: Run, monkeypatch: pytest.MonkeyPatch) -> Score:
    monkeypatch.setattr(progress_module, "COMMIT_EVERY_S", 0.0)

    def run(*arguments: object) -> tuple[int, str, str]:
        return yoj("score", *JUDGE, "--max-batch-tokens", 64, *arguments)

    return run


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the next run stop as Ctrl-C would, when so many lines are written."""
    write = ScoreRun._write

    def arrange(n_lines: int) -> None:
        n_written = 0

        def write_some(self: ScoreRun, report: Any, item: Any) -> None:
            nonlocal n_written
            if n_written == n_lines:
                raise KeyboardInterrupt
            n_written += 1
            write(self, report, item)

        monkeypatch.setattr(ScoreRun, "_write", write_some)

    return arrange


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "ending", ["", *(pytest.param(each, marks=pytest.mark.slow) for each in (".gz", ".zst"))]
)
def test_a_run_that_is_stopped_often_gives_the_file_of_an_undisturbed_one(
    score: Score, stop_after: Callable[[int], None], data: Path, tmp_path: Path, ending: str
) -> None:
    whole, parts = tmp_path / f"whole.jsonl{ending}", tmp_path / f"parts.jsonl{ending}"
    assert score(data, "-o", whole)[0] == 1  # some failed, as they should
    n_stops = 0
    for n_lines in (0, 1, 40, 55, 70, 10**9):
        stop_after(n_lines)
        code, _, err = score(data, "-o", parts, "--resume")
        n_stops += code == 130
        assert code in (1, 130), err
    assert n_stops == 5
    assert parts.read_bytes() == whole.read_bytes()
    assert read_manifest(path_of(parts)) == read_manifest(path_of(whole))


def test_groups_that_are_done_are_never_scored_again(
    score: Score,
    stop_after: Callable[[int], None],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out.jsonl"
    stop_after(100)
    score(data, "-o", out, "--resume")
    n_done = read_manifest(path_of(out)).n_done  # type: ignore[union-attr]
    assert 64 <= n_done <= 100
    with out.open("ab") as file:
        file.write(b'{"id": 3, "half a li')
    stop_after(10**9)
    from yoj_cli.scoring.judge import Judge

    prepared: list[str] = []
    prepare = Judge.prepare
    monkeypatch.setattr(
        Judge,
        "prepare",
        lambda self, group, options: prepared.append(group.id) or prepare(self, group, options),
    )
    assert score(data, "-o", out, "--resume")[0] == 1
    assert min(map(int, prepared)) == n_done
    assert [row["id"] for row in rows(out)] == list(range(BLOCK + 40))


def test_a_finished_run_that_is_resumed_changes_nothing(score: Score, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    score(data, "-o", out)
    before = out.read_bytes(), path_of(out).read_bytes()
    assert score(data, "-o", out, "--resume")[0] == 1
    assert (out.read_bytes(), path_of(out).read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--orders", 2), "judge.orders is 1 there and 2 here"),
        (("--top", 1), "top is not stated there and 1 here"),
        (("--dtype", "float16"), "judge.dtype is"),
        (("--max-batch-tokens", 65), "judge.max_batch_tokens is 64 there and 65 here"),
    ],
)
def test_another_setting_is_refused_by_name(
    score: Score, data: Path, tmp_path: Path, options: tuple[object, ...], what: str
) -> None:
    out = tmp_path / "out.jsonl"
    score(data, "--limit", 9, "-o", out)
    before = out.read_bytes()
    code, _, err = score(data, "--limit", 9, "-o", out, "--resume", *options)
    assert code == 2
    assert f"{out}: belongs to another run: {what}" in err
    assert out.read_bytes() == before


def test_other_inputs_and_other_weights_are_refused(
    score: Score, yoj: Run, data: Path, tmp_path: Path
) -> None:
    import shutil

    judge, out = tmp_path / "judge", tmp_path / "out.jsonl"
    shutil.copytree(PARITY / "checkpoint", judge)
    arguments = ("-m", judge, "-o", out, "--limit", 5)
    score(data, *arguments)
    head = json.loads((judge / "reward_model_config.json").read_text())
    (judge / "reward_model_config.json").write_text(json.dumps(head | {"comment": "changed"}))
    assert "judge.content is" in score(data, *arguments, "--resume")[2]
    calibration = Calibration(
        "judge", "content", (Temperature("multi", 1, None, 2.0, 1.9, 2.1, 100),)
    ).to_json()
    (judge / "reward_model_config.json").write_text(json.dumps(head | {"calibration": calibration}))
    other = score(data, *arguments, "--resume")[2]
    assert "judge.calibration is" in other
    assert "judge.content" not in other
    (judge / "reward_model_config.json").write_text(json.dumps(head))
    with data.open("a") as file:
        file.write('{"prompt": "q", "responses": ["a"]}\n')
    code, _, err = score(data, *arguments, "--resume")
    assert code == 2
    assert "the input files are not the same, or have changed since" in err
    assert "judge." not in err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--resume",), "--resume: needs -o FILE"),
        (("--shard", "0/2"), "--shard: needs -o FILE"),
        (("--shard", "2/2"), "the last of 2 is 1/2"),
        (("--shard", "half"), "'half' is neither auto nor I/N"),
        (("--retry-failed",), "--retry-failed: needs --resume"),
        (
            ("--resume", "-o", "out.csv", "-f", "csv"),
            "--resume: needs files to read, and -o FILE as JSON Lines",
        ),
        (("-o", "x", "--output-dir", "y"), "--output-dir: contradicts -o"),
    ],
)
def test_what_cannot_be_resumed_is_refused_before_a_judge_is_loaded(
    yoj: Run,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = yoj("score", "-m", "./no_model", data, *arguments)
    assert (code, out) == (2, "")
    assert what in err
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


def test_a_pipe_cannot_be_resumed(yoj: Run, data: Path, tmp_path: Path) -> None:
    code, _, err = yoj("score", "-m", "./no_model", "-", "-o", tmp_path / "o.jsonl", "--resume", stdin="{}")
    assert code == 2
    assert "A pipe cannot be read again" in err


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format_version": 2}', b"\xff", b'{"format_version": 1}']
)
def test_a_damaged_manifest_is_an_error_that_names_it(
    score: Score, data: Path, tmp_path: Path, content: bytes
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("{}\n")
    path_of(out).write_bytes(content)
    code, _, err = score(data, "-o", out, "--resume")
    assert code == 2
    assert str(path_of(out)) in err


def test_results_without_a_manifest_or_shorter_than_it_says_are_never_gone_on_with(
    score: Score, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    score(data, "--limit", 5, "-o", out)
    out.write_bytes(out.read_bytes()[:-1])
    assert "results were lost" in score(data, "--limit", 5, "-o", out, "--resume")[2]
    path_of(out).unlink()
    assert "has no out.jsonl.manifest.json" in score(data, "--limit", 5, "-o", out, "--resume")[2]


def test_groups_that_failed_are_retried_and_all_other_lines_stay(
    score: Score, data: Path, tmp_path: Path
) -> None:
    from PIL import Image

    out = tmp_path / "out.jsonl"
    assert score(data, "-o", out)[0] == 1
    before = rows(out)
    Image.new("RGB", (40, 40), "red").save(tmp_path / "missing.png")
    assert score(data, "-o", out, "--resume", "--retry-failed")[0] == 0
    after = rows(out)
    assert [row["id"] for row in after] == [row["id"] for row in before]
    assert all("scores" in row for row in after)
    changed = [new["id"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [row["id"] for row in before if "error" in row] != []
    manifest = read_manifest(path_of(out))
    assert manifest is not None
    assert (manifest.n_failed, manifest.n_bytes) == (0, out.stat().st_size)
    assert "scored again" in manifest.notes[0]


def test_each_input_has_an_output_of_its_own(score: Score, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "q", "responses": ["a", "b"]}\n')
    assert score(data, other, "--output-dir", tmp_path / "scored")[0] == 1
    assert len(rows(tmp_path / "scored" / "data.jsonl")) == BLOCK + 40
    assert len(rows(tmp_path / "scored" / "other.jsonl")) == 1
    assert score(data, other, "--output-dir", tmp_path / "scored", "--resume")[0] == 1
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data.jsonl").write_text("{}")
    code, _, err = score(data, tmp_path / "sub" / "data.jsonl", "--output-dir", tmp_path / "again")
    assert (code, "2 of the inputs are called data.jsonl" in err) == (2, True)
