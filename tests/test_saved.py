"""Runs on disk, also those that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from yoj_cli.errors import InputError
from yoj_cli.evaluate.saved import SavedRun, read_runs, write_run

LINE = {
    "id": "1",
    "prompt": "What is drawn?",
    "image": "scene.png",
    "responses": ["a star", "a circle"],
    "rankings": [1, 2],
    "scores": [1.0, 0.0],
    "judge": {"model": "m", "mode": "multi", "orders": 1, "order": [1, 0]},
}


def save(folder: Path, *lines: dict[str, Any], **fields: Any) -> Path:
    folder.mkdir(parents=True)
    given = {"name": "data", "title": "data.jsonl", "source": "data.jsonl", "folder": "/pictures"}
    write_run(
        SavedRun(**{**given, "scorer": "m", "reading": "shuffled", "is_complete": True, **fields}), folder
    )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "verdicts.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_a_run_comes_back_with_its_media_where_they_were(tmp_path: Path) -> None:
    save(tmp_path / "run" / "data", LINE, judge={"model": "m"}, limit=7)
    (run,) = read_runs([tmp_path / "run"])
    assert (run.scorer, run.limit, run.is_complete, run.judge) == ("m", 7, True, {"model": "m"})
    (judged,) = run.judged()
    assert judged.order == (1, 0)
    assert judged.group is not None
    assert judged.group.media[0].path == "/pictures/scene.png"
    assert read_runs([tmp_path / "run" / "data"]) == [run]


def test_the_runs_of_a_folder_come_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        save(tmp_path / name, LINE, name=name)
    assert [run.name for run in read_runs([tmp_path])] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "../../elsewhere"}, "no name of a set"),
        ({"name": ".."}, "no name of a set"),
        ({"name": 5}, "wrong type"),
        ({"judge": []}, "wrong type"),
        ({"format": 2}, "was written in format 2"),
        ({"format": None}, "was written in format None"),
    ],
)
def test_a_description_that_somebody_changed_is_one_clear_error(
    tmp_path: Path, yoj: Run, change: dict[str, Any], complaint: str
) -> None:
    path = save(tmp_path / "data", LINE) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    code, out, err = yoj("eval", "--from", tmp_path, "--plot", tmp_path / "plots")
    assert (code, out) == (2, "")
    assert complaint in err


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}'])
def test_a_broken_description_is_one_clear_error(tmp_path: Path, yoj: Run, text: str) -> None:
    (save(tmp_path / "data", LINE) / "run.json").write_text(text, encoding="utf-8")
    code, _, err = yoj("eval", "--from", tmp_path)
    assert code == 2
    assert "run.json" in err


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [1.0]},
        {"scores": "high"},
        {"p_best": [1.0]},
        {"judge": {"order": [0, 0]}},
        {"judge": {"order": [0, 1.0]}},
        {"judge": {"reversed_scores": [1]}},
        {"spread": ["x", 1]},
    ],
)
def test_a_line_that_does_not_fit_its_group_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    save(tmp_path / "data", LINE, LINE | change)
    with pytest.raises(InputError, match=r"verdicts\.jsonl:2"):
        read_runs([tmp_path])[0].judged()


@pytest.mark.parametrize("judge", [None, "me", {}, {"orders": "many", "seconds": "slow"}])
def test_what_a_line_says_of_its_judge_may_be_anything(tmp_path: Path, judge: object) -> None:
    save(
        tmp_path / "data",
        LINE | {"judge": judge, "category": ["a"], "cluster": {"b": 1}, "order_agreement": "x"},
    )
    (found,) = read_runs([tmp_path])[0].judged()
    assert (found.n_orders, found.seconds, found.order_agreement) == (1, None, None)
