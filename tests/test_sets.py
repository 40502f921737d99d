"""What `yoj eval` is given: benchmarks by name, local copies, the paper's six."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.judged import pairs
from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Published, Record
from yoj_cli.evaluate.evaluation import evaluate
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, macro_accuracy
from yoj_cli.evaluate.paper import paper_rows
from yoj_cli.evaluate.sets import PAPER, open_sets
from yoj_cli.groups import Failure, Group


def convert(row: Mapping[str, Any]) -> Record:
    return {
        "id": row["ID"],
        "prompt": row["Text"],
        "responses": [row["A"], row["B"]],
        "rankings": [1, 2] if row["Better"] == "A" else [2, 1],
        "category": row["Kind"],
        "cluster": row["ID"],
    }


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [macro_accuracy(judged, "macro accuracy over kinds")]


def benchmark(name: str, value: float = 0.5) -> Benchmark:
    """A benchmark that is complete, and small."""
    printed = (Published("their model", value, "their paper"),)
    return Benchmark(
        name,
        name.title(),
        "",
        "",
        "MIT",
        3,
        "macro accuracy over kinds",
        convert,
        headline,
        ("*.jsonl",),
        published=printed,
    )


ROWS = [
    {"ID": "a1", "Text": "one", "A": "good", "B": "bad", "Better": "A", "Kind": "x"},
    {"ID": "a2", "Text": "two", "A": "bad", "B": "good", "Better": "B", "Kind": "x"},
    {"ID": "a3", "Text": "three", "A": "good", "B": "", "Better": "A", "Kind": "y"},
]


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's names, all with the small reader."""
    found = tuple(benchmark(name, place / 10) for place, name in enumerate(PAPER, start=1))
    for module in ("sets", "listing"):
        monkeypatch.setattr(f"yoj_cli.evaluate.{module}.BENCHMARKS", found)


def scores_of(rows: Sequence[dict[str, Any]], right: Sequence[bool]) -> list[dict[str, Any]]:
    return [
        {"id": row["ID"], "scores": [1, 0] if (row["Better"] == "A") == is_right else [0, 1]}
        for row, is_right in zip(rows, right, strict=True)
    ]


def test_a_benchmark_gives_groups_with_its_categories_and_clusters(
    six: None, write_lines: Callable[..., Path]
) -> None:
    (found,) = open_sets([PAPER[0]], data=write_lines(*ROWS), limit=2, media_root=None)
    groups = list(found.groups())
    assert [(group.id, group.rankings) for group in groups if isinstance(group, Group)] == [
        ("a1", (1, 2)),
        ("a2", (2, 1)),
    ]
    assert groups[0].where == "data.jsonl:1"
    assert list(found.groups()) == groups, "a second scorer reads them again"


def test_a_record_that_cannot_be_used_is_a_failure_in_its_place(
    six: None, write_lines: Callable[..., Path]
) -> None:
    rows = [ROWS[0], {**ROWS[1], "B": 7}, ROWS[2]]
    (found,) = open_sets([PAPER[0]], data=write_lines(*rows), limit=None, media_root=None)
    assert [type(item) for item in found.groups()] == [Group, Failure, Group]


def test_with_several_benchmarks_data_is_a_folder_of_copies_named_after_them(
    six: None, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    for name in PAPER[:2]:
        write_lines(*ROWS, name=f"{name}.jsonl")
    found = open_sets(PAPER[:2], data=tmp_path, limit=None, media_root=None)
    assert [Path(each.source).name for each in found] == [f"{name}.jsonl" for name in PAPER[:2]]
    with pytest.raises(InputError, match=f"holds nothing called {PAPER[2]}"):
        open_sets(PAPER[:3], data=tmp_path, limit=None, media_root=None)
    write_lines(*ROWS, name=f"{PAPER[0]}.parquet")
    with pytest.raises(InputError, match="holds 2 entries"):
        open_sets(PAPER[:2], data=tmp_path, limit=None, media_root=None)


def test_the_papers_table_has_an_average_and_published_rows(
    six: None, yoj: Run, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    for name in PAPER:
        write_lines(*ROWS, name=f"{name}.jsonl")
    (tmp_path / "scores").mkdir()
    scores = write_lines(*scores_of(ROWS, [True, False, True]), name="scores/ours.jsonl")
    code, out, _ = yoj("eval", "paper", "--data", tmp_path, "--scores", scores, "--json")
    assert code == 0
    ours, theirs = json.loads(out)["paper"]
    assert ours["who"] == "ours.jsonl"
    assert ours["figures"] == dict.fromkeys(PAPER, 0.75)
    assert ours["average"] == pytest.approx(0.75)
    assert theirs["published"]
    assert theirs["average"] == pytest.approx(0.35)
    _, out, _ = yoj("eval", "paper", "--data", tmp_path, "--scores", scores)
    (avg,) = [line for line in out.splitlines() if line.strip().startswith("Avg")]
    assert avg.split()[-4:] == ["75.0", "%", "35.0", "%"]
    assert "published: their model (their paper)" in " ".join(out.split())


def test_no_average_without_all_six() -> None:
    found = evaluate(pairs(True, True), benchmark(PAPER[0]), scorer="ours")
    row, _ = paper_rows([found])
    assert row.figures == (1.0, None, None, None, None, None)
    assert row.average is None


def test_the_list_marks_the_papers_six(six: None, yoj: Run) -> None:
    code, out, _ = yoj("eval", "--list")
    assert code == 0
    assert f"  {PAPER[0]} *" in out
    _, out, _ = yoj("eval", "--list", "--json")
    assert [each["name"] for each in json.loads(out)["benchmarks"]] == list(PAPER)
