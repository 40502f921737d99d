"""`yoj data` through the real command line."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Run
from tests.fake_hub import Model
from yoj_cli.records.parse import read_groups
from yoj_cli.records.sets import SETS, ultrafeedback

Lines = list[dict[str, Any]]


def png(colour: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG", **options)
    return file.getvalue()


def write(path: Path, rows: Lines) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def dialogue(prompt: str, chosen: str = "a", rejected: str = "b") -> dict[str, str]:
    return {
        "chosen": f"\n\nHuman: {prompt}\n\nAssistant: {chosen}",
        "rejected": f"\n\nHuman: {prompt}\n\nAssistant: {rejected}",
    }


def nectar(prompt: str, ranks: list[float]) -> dict[str, Any]:
    answers = [{"answer": f"answer {i}", "model": f"m{i}", "rank": rank} for i, rank in enumerate(ranks)]
    return {"prompt": f"\n\nHuman: {prompt}\n\nAssistant: ", "answers": answers}


def pictured(number: int, image: Any) -> dict[str, Any]:
    return {"idx": number, "image": image, "question": f"What is {number}?", "chosen": "a", "rejected": "b"}


def write_pictured(path: Path, colours: list[str]) -> Path:
    """RLAIF-V's parquet, pictures as bytes."""
    import pyarrow
    from pyarrow import parquet

    rows = [pictured(i, {"bytes": png(colour), "path": f"../{i}.png"}) for i, colour in enumerate(colours)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_pictures_lie_beside_the_file_and_what_was_done_in_the_card(yoj: Run, tmp_path: Path) -> None:
    data = write_pictured(tmp_path / "in.parquet", ["red", "blue", "red"])
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "train.jsonl"
    code, printed, err = yoj("data", "rlaif-v", "--data", data, "-o", out)
    assert (code, printed) == (0, "")
    assert err.splitlines()[0].startswith("RLAIF-V: licence CC-BY-NC-4.0; columns verified against")
    records = read(out)
    assert [record["rankings"] for record in records] == [[1, 2]] * 3
    assert records[0]["images"] == records[2]["images"] != records[1]["images"]
    assert len(list((out.parent / "train-media").iterdir())) == 2
    groups = list(read_groups(str(out)))
    assert all(Path(group.media[0].path).is_file() for group in groups)  # type: ignore[union-attr]
    card = json.loads((out.parent / "data-card.json").read_text())["train.jsonl"]
    assert (card["licence"], card["complete"], card["parts"]) == ("CC-BY-NC-4.0", True, {"train.jsonl": 3})
    assert (card["counts"]["rows"], card["counts"]["media_files"]) == (3, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet", "out"}


def test_the_licence_is_said_before_anything_is_written(yoj: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "in.jsonl", [{"strange": 1}])
    code, _, err = yoj("data", "povid", "--data", data, "-o", tmp_path / "new" / "train.jsonl")
    assert code == 2
    assert "COLUMNS NOT VERIFIED, guessed from" in err.splitlines()[0]
    assert not (tmp_path / "new").exists()
    code, _, err = yoj("data", "povid", "--data", data, "-o", tmp_path / "train.jsonl")
    assert code == 2
    assert (
        "in.jsonl:1: no column for the better conversation: looked for conversations, chosen; found strange"
        in err
    )
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl"}


def test_ties_are_kept_and_duplicates_and_contradictions_counted(yoj: Run, tmp_path: Path) -> None:
    rows = [
        nectar("one", [1, 1, 3]),
        nectar("one", [1, 1, 3]),
        nectar(" ONE ", [3, 1, 1]),
        nectar("two", [1, 1]),
        nectar("three", [1, 2]),
        {"prompt": "four", "answers": [{"answer": "a", "rank": None}]},
    ]
    code, _, err = yoj(
        "data", "nectar", "--data", write(tmp_path / "in.jsonl", rows), "-o", tmp_path / "o.jsonl"
    )
    assert code == 0
    counts = json.loads((tmp_path / "data-card.json").read_text())["o.jsonl"]["counts"]
    expected = {"rows": 6, "written": 5, "with_ties": 4, "all_tied": 1, "duplicates": 1, "contradictions": 1}
    assert {key: counts[key] for key in expected} == expected
    assert counts["left_out"] == {"an answer has no rank": 1}
    assert "left out: 1 rows: an answer has no rank" in err
    assert "kept: 1 contradict an earlier group of the same prompt" in err


def test_a_prompt_is_never_on_both_sides_of_a_split(yoj: Run, tmp_path: Path) -> None:
    rows = [dialogue(f"Question {i % 40}", f"a{i}", f"b{i}") for i in range(120)]
    rows += [
        {  # a later stage of the same dialogue
            side: f"\n\nHuman: question {i}\n\nAssistant: x\n\nHuman: more\n\nAssistant: {side}{i}"
            for side in ("chosen", "rejected")
        }
        for i in range(40)
    ]
    data = write(tmp_path / "in.jsonl", rows)
    arguments = ("data", "hh-rlhf", "--data", data, "--split", "0.7/0.2/0.1")
    assert yoj(*arguments, "-o", tmp_path / "t.jsonl")[0] == 0
    parts = [read(tmp_path / name) for name in ("t.jsonl", "t-eval.jsonl", "t-test.jsonl")]

    def prompts(part: Lines) -> set[str]:
        return {(record.get("prompt") or record["messages"][0]["content"]).lower() for record in part}

    assert sum(map(len, parts)) == 160
    assert all(len(part) > 4 for part in parts)
    for i, part in enumerate(parts):
        assert not any(prompts(part) & prompts(other) for other in parts[:i])
    assert yoj(*arguments, "-o", tmp_path / "again.jsonl")[0] == 0
    assert read(tmp_path / "again.jsonl") == parts[0]
    assert yoj(*arguments, "-o", tmp_path / "other.jsonl", "--seed", 1)[0] == 0
    assert read(tmp_path / "other.jsonl") != parts[0]


def test_some_responses_are_drawn_and_ranked_among_themselves(yoj: Run, tmp_path: Path) -> None:
    rows = [nectar(f"q{i}", [7, 6, 5, 4, 3, 2, 1]) for i in range(30)] + [nectar("few", [2, 1])]
    data = write(tmp_path / "in.jsonl", rows)
    assert yoj("data", "nectar", "--data", data, "-o", tmp_path / "o.jsonl", "-n", 4, "--limit", 31)[0] == 0
    records = read(tmp_path / "o.jsonl")
    assert [record["rankings"] for record in records] == [[4, 3, 2, 1]] * 30 + [[2, 1]]
    assert all(
        record["models"] == [answer.replace("answer ", "m") for answer in record["responses"]]
        for record in records
    )
    drawn = Counter(answer for record in records[:30] for answer in record["responses"])
    assert len(drawn) == 7
    assert yoj("data", "nectar", "--data", data, "-o", tmp_path / "two.jsonl", "--limit", 2)[0] == 0
    assert len(read(tmp_path / "two.jsonl")) == 2
    cards = json.loads((tmp_path / "data-card.json").read_text())
    assert set(cards) == {"o.jsonl", "two.jsonl"}
    assert cards["o.jsonl"]["counts"]["drawn"] == 30


def test_what_is_in_a_benchmark_is_dropped_and_counted(yoj: Run, tmp_path: Path) -> None:
    asked = {
        "id": "a-1",
        "query": "what IS\n 1?",
        "response": ["x", "y"],
        "human_ranking": [0, 1],
        "image": "1.png",
    }
    bench = write(tmp_path / "bench" / "rows.jsonl", [asked])
    # The same pixels in another file: only packed otherwise.
    (bench.parent / "1.png").write_bytes(png("blue", compress_level=0))
    data = write_pictured(tmp_path / "in.parquet", ["red", "red", "blue", "green"])
    out = tmp_path / "o.jsonl"
    code, _, err = yoj(
        "data", "rlaif-v", "--data", data, "-o", out, "--decontaminate", f"vl-rewardbench={bench.parent}"
    )
    assert code == 0
    assert [record["id"] for record in read(out)] == ["0", "3"]
    assert "dropped: 2 groups that occur in a benchmark (1 by their prompt, 1 by a picture or clip)" in err
    assert len(list((tmp_path / "o-media").iterdir())) == 2, "a dropped group's picture is not left"
    (found,) = json.loads((tmp_path / "data-card.json").read_text())["o.jsonl"]["decontaminated"]
    assert (found["name"], found["prompts"], found["media"]) == ("vl-rewardbench", 1, 1)


def test_a_benchmark_that_is_not_whole_is_an_error_unless_it_may_be(yoj: Run, tmp_path: Path) -> None:
    bench = write(tmp_path / "held.jsonl", [{"prompt": "one?", "responses": ["a"], "image": "gone.png"}])
    data = write(tmp_path / "in.jsonl", [dialogue("one?"), dialogue("two?")])
    arguments = ("data", "hh-rlhf", "--data", data, "-o", tmp_path / "o.jsonl", "--decontaminate", bench)
    code, _, err = yoj(*arguments)
    assert code == 2
    assert "--on-error skip" in err
    assert not (tmp_path / "o.jsonl").exists()
    code, _, err = yoj(*arguments, "--on-error", "skip")
    assert code == 0
    assert "1 of its groups cannot be read" in err
    assert [record["prompt"] for record in read(tmp_path / "o.jsonl")] == ["two?"]


def test_rows_that_fail_are_skipped_if_that_is_asked(yoj: Run, tmp_path: Path) -> None:
    rows = [dialogue("one?"), {"chosen": 7, "rejected": "x"}, dialogue("two?")]
    data, out = write(tmp_path / "in.jsonl", rows), tmp_path / "o.jsonl"
    code, _, err = yoj("data", "hh-rlhf", "--data", data, "-o", out)
    assert code == 2
    assert "in.jsonl:2: the better dialogue must be a text, found the number 7" in err
    code, _, err = yoj("data", "hh-rlhf", "--data", data, "-o", out, "--on-error", "skip", "--overwrite")
    assert code == 1
    assert "failed: 1 rows" in err
    assert len(read(out)) == 2


@pytest.mark.parametrize("path", ["../../secret.png", "/etc/hostname", "missing.png"])
def test_a_hostile_path_writes_and_copies_nothing(path: str, yoj: Run, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png("red"))
    data = write(tmp_path / "a" / "b" / "in.jsonl", [pictured(1, path)])
    (tmp_path / "out").mkdir()
    code, _, err = yoj("data", "rlaif-v", "--data", data, "-o", tmp_path / "out" / "o.jsonl")
    assert code == 2
    assert "in.jsonl:1" in err
    assert not list((tmp_path / "out").iterdir())


def test_the_hubs_commit_is_in_the_card(
    yoj: Run, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "".join(json.dumps(dialogue(f"q{i}?")) + "\n" for i in range(3)).encode()
    model = Model(private=False, files={"harmless-base/train.jsonl": content})
    hub.models["Anthropic/hh-rlhf"] = model
    code, _, err = yoj("data", "hh-rlhf", "-o", tmp_path / "o.jsonl", "-q")
    assert code == 0
    assert f"read from Anthropic/hh-rlhf at {model.commit}" in err
    card = json.loads((tmp_path / "data-card.json").read_text())["o.jsonl"]
    assert (card["revision"], card["source"]) == (model.commit, "Anthropic/hh-rlhf")


def test_ultrafeedback_is_read_at_the_revision_whose_scores_are_right() -> None:
    assert ultrafeedback.SET.revision.startswith("40b4365")


def test_the_list_names_licences_and_what_was_verified(yoj: Run) -> None:
    code, out, _ = yoj("data", "--list", "--json")
    assert code == 0
    found = json.loads(out)["sets"]
    assert [each["name"] for each in found] == [each.name for each in SETS]
    assert all(each["licence"] and each["columns_basis"] for each in found)
    _, out, _ = yoj("data", "--list", "-f", "markdown")
    assert "| nectar | 7 |" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which set? name one"),
        (["nope", "-o", "x.jsonl"], "there is no set 'nope'"),
        (["nectar"], "-o: where to?"),
        (["nectar", "-o", "-"], "lie beside a file"),
        (["nectar", "--list"], "--list converts nothing"),
        (["nectar", "-o", "x", "--split", "0.9/0.2"], "positive shares that sum to 1"),
        (["nectar", "-o", "x", "--split", "nan/0.1"], "positive shares that sum to 1"),
        (["nectar", "-o", "x", "-n", "1"], "cannot be ranked"),
        (["nectar", "-o", "x", "--data", "a", "--revision", "b"], "no revision to choose"),
        (["nectar", "-o", "x", "--json"], "is for --list"),
        (["nectar", "-o", "x", "--data", "gone.jsonl"], "there is no such file or folder"),
        (["nectar", "-o", "no/such/x.jsonl", "--data", "in.jsonl"], "cannot be written"),
        (["nectar", "-o", "in.jsonl", "--data", "./in.jsonl", "--overwrite"], "overwrite the set itself"),
        (
            ["nectar", "-o", "x", "--data", "in.jsonl", "--decontaminate", "nope"],
            "is no benchmark and no file",
        ),
    ],
)
def test_wrong_usage_is_one_clear_error(
    arguments: list[str], message: str, yoj: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.jsonl", [nectar("one", [1, 2])])
    code, _, err = yoj("data", *arguments)
    assert code == 2
    assert message in err
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl"}


def test_nothing_usable_is_an_error_with_the_reasons(yoj: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "in.jsonl", [{"prompt": "p", "answers": [{"answer": "a", "rank": None}]}])
    code, _, err = yoj("data", "nectar", "--data", data, "-o", tmp_path / "o.jsonl")
    assert code == 2
    assert "gave no group" in err
    assert "1 rows: an answer has no rank." in err


def test_what_json_or_utf_8_has_not_is_written_in_escapes_or_an_error(yoj: Run, tmp_path: Path) -> None:
    import datetime

    import pyarrow
    from pyarrow import parquet

    data = write(tmp_path / "in.jsonl", [dialogue("half \ud800")])
    assert yoj("data", "hh-rlhf", "--data", data, "-o", tmp_path / "o.jsonl")[0] == 0
    assert read(tmp_path / "o.jsonl")[0]["prompt"] == "half \ud800"
    answer = {"response": "a", "overall_score": 1.0, "model": datetime.datetime(2020, 1, 1)}
    broken = pyarrow.StringArray.from_buffers(
        1, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")
    )
    for name, table, message in (
        ("ultrafeedback", {"instruction": ["p"], "completions": [[answer]]}, "a value that JSON has not"),
        ("hh-rlhf", {"chosen": broken, "rejected": broken}, "cannot be read"),
    ):
        parquet.write_table(pyarrow.table(table), tmp_path / "in.parquet")
        code, _, err = yoj("data", name, "--data", tmp_path / "in.parquet", "-o", tmp_path / "x.jsonl")
        assert code == 2
        assert message in err
