"""Shards joined give the whole run's file, and what does not belong together is never joined."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import PARITY, Run
from yoj_cli.errors import YojError
from yoj_cli.records.selection import BLOCK
from yoj_cli.run.gather import find_parts
from yoj_cli.run.manifest import InputFile, Manifest, path_of, read_manifest, write_manifest

JUDGE = ("-m", PARITY / "checkpoint", "--device", "cpu", "--quant", "none", "-q")
RUN = Manifest({"mode": "multi"}, {"top": None}, (InputFile("in.jsonl", 9, "ab"),), n_shards=2, finished=True)


def part(path: Path, lines: list[str], **changes: object) -> Path:
    """An output with its manifest."""
    path.write_text("".join(f"{line}\n" for line in lines))
    manifest = replace(RUN, n_done=len(lines), n_bytes=path.stat().st_size, **changes)  # type: ignore[arg-type]
    write_manifest(path_of(path), manifest)
    return path


def test_the_shards_of_a_run_give_its_file_byte_for_byte(yoj: Run, tmp_path: Path) -> None:
    data, whole = tmp_path / "data.jsonl", tmp_path / "whole.jsonl"
    line = '{"prompt": "%s", "responses": ["a", "b b"]}\n'
    data.write_text("".join(line % ("word " * (number % 13)) for number in range(3 * BLOCK + 5)))
    assert yoj("score", *JUDGE, data, "-o", whole)[0] == 0
    for shard in (1, 0):
        assert yoj("score", *JUDGE, data, "-o", tmp_path / "part.jsonl", "--shard", f"{shard}/2")[0] == 0
    parts = sorted(tmp_path.glob("part.*"))
    assert [path.name for path in parts if "manifest" not in path.name] == [
        "part.0-of-2.jsonl",
        "part.1-of-2.jsonl",
    ]
    code, out, err = yoj("gather", *parts, "-o", tmp_path / "all.jsonl")
    assert (code, out, err) == (0, "", f"gathered: {3 * BLOCK + 5} groups\n")
    assert (tmp_path / "all.jsonl").read_bytes() == whole.read_bytes()
    assert read_manifest(path_of(tmp_path / "all.jsonl")) == read_manifest(path_of(whole))
    assert yoj("gather", *parts, "-o", tmp_path / "all.jsonl")[0] == 2  # never over other results


def test_auto_asks_the_scheduler(yoj: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"prompt": "q", "responses": ["a", "b"]}\n')
    arguments = ("score", *JUDGE, data, "-o", tmp_path / "o.jsonl.gz", "--shard", "auto")
    code, _, err = yoj(*arguments)
    assert (code, "neither SLURM_ARRAY_TASK_ID/SLURM_ARRAY_TASK_COUNT nor RANK/WORLD_SIZE" in err) == (
        2,
        True,
    )
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert yoj(*arguments)[0] == 0
    for name, value in (("ID", "4"), ("COUNT", "3"), ("MIN", "3")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert yoj(*arguments)[0] == 0
    assert {path.name for path in tmp_path.glob("*.gz")} == {"o.1-of-2.jsonl.gz", "o.1-of-3.jsonl.gz"}


def test_blocks_are_dealt_back_in_turn(tmp_path: Path) -> None:
    first = part(tmp_path / "a", [*(f"a{n}" for n in range(BLOCK)), "tail"], shard=0)
    second = part(tmp_path / "b", [f"b{n}" for n in range(BLOCK)], shard=1)
    lines = [line.decode().strip() for line in find_parts([str(second), str(first)]).lines()]
    assert lines == [*(f"a{n}" for n in range(BLOCK)), *(f"b{n}" for n in range(BLOCK)), "tail"]


def test_outputs_of_several_inputs_follow_one_another_as_given(tmp_path: Path) -> None:
    first = part(tmp_path / "a", ["1"], n_shards=1)
    second = part(tmp_path / "b", ["2"], n_shards=1, inputs=(InputFile("other", 1, "cd"),))
    assert [line.strip() for line in find_parts([str(second), str(first)]).lines()] == [b"2", b"1"]


Damage = Callable[[Path], list[Path]]


@pytest.mark.parametrize(
    ("arrange", "what"),
    [
        (lambda at: [part(at / "a", [])], "shards are missing: 1/2"),
        (lambda at: [part(at / "a", []), part(at / "b", [])], "is shard 0/2, as is"),
        (lambda at: [part(at / "a", []), part(at / "b", [], shard=1, finished=False)], "is not finished"),
        (
            lambda at: [part(at / "a", []), part(at / "b", [], shard=1, judge={"mode": "single"})],
            "judge.mode is multi there and single here",
        ),
        (lambda at: [part(at / "a", []), part(at / "b", [], n_shards=3)], "is shard 0/3, as is"),
        (lambda at: [part(at / "a", []), part(at / "b", [], shard=2, n_shards=3)], "is one of 3 shards"),
        (lambda at: [at / "nothing"], "has no nothing.manifest.json"),
        (lambda at: [part(at / "a", []), at / "a"], "the same file is named twice"),
        (lambda at: [path_of(part(at / "a", []))], "there are manifests alone"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, arrange: Damage, what: str) -> None:
    with pytest.raises(YojError) as found:
        find_parts(map(str, arrange(tmp_path)))
    assert what in str(found.value)


def test_an_output_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = part(tmp_path / "a", ["1", "2"], n_shards=1)
    path.write_text("1\n")
    with pytest.raises(YojError, match="it was changed or cut off"):
        find_parts([str(path)])
    path.write_text("1 2\n")
    with pytest.raises(YojError, match="has 1 lines, and its manifest says 2"):
        list(find_parts([str(path)]).lines())


def test_the_manifest_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    raw = json.loads(path_of(part(tmp_path / "a", ["1"])).read_text())
    assert raw["judge"] == {"mode": "multi"}
    assert (raw["n_done"], raw["finished"]) == (1, True)
