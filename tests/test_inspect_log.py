"""The Inspect log of a run: its form, and what inspect-ai itself makes of it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.judged import FILE, make_judged
from tests.verdicts import HOSTILE
from yoj_cli.evaluate.evaluation import evaluate
from yoj_cli.evaluate.inspect_log import InspectLog
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.saved import SavedRun
from yoj_cli.records.parse import parse

PICTURE = Path(__file__).parents[1] / "examples" / "pictures" / "scene-1.png"
INSPECT = "YOJ_INSPECT_PYTHON"

READ = """if True:
    import json, sys
    from inspect_ai.log import read_eval_log, read_eval_log_sample, read_eval_log_sample_summaries
    log = read_eval_log(sys.argv[1])
    print(json.dumps({
        "status": log.status,
        "task": log.eval.task,
        "model": log.eval.model,
        "metrics": {name: metric.value for name, metric in log.results.scores[0].metrics.items()},
        "samples": [
            [sample.id, sample.scores["yoj"].value if sample.scores else None, len(sample.messages),
             bool(sample.error), sample.target, sample.choices]
            for sample in log.samples
        ],
        "second": read_eval_log_sample(sys.argv[1], id="a_b#2").scores["yoj"].answer,
        "summaries": len(read_eval_log_sample_summaries(sys.argv[1])),
    }))
"""


def judged_groups() -> list[Judged]:
    record = {
        "id": "a/b",
        "prompt": "What is drawn?",
        "responses": ["a star", "a circle"],
        "rankings": [1, 2],
    }
    group = parse({**record, "image": str(PICTURE)})
    hostile = parse(
        {"id": "h", "prompt": HOSTILE[0], "responses": list(HOSTILE), "rankings": [1] * len(HOSTILE)}
    )
    return [
        make_judged((1, 0), (1, 2), group=group, id="a/b"),
        make_judged((0, 1), (1, 2), group=group, id="a/b"),
        make_judged((1, 1), (1, 2), group=group, id="tied"),
        make_judged([0.0] * len(HOSTILE), [1] * len(HOSTILE), group=hostile, id="h"),
        make_judged((), None, id="failed", error={"type": "MediaError", "message": "gone"}),
    ]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "inspect.eval"
    run = SavedRun("data", "data.jsonl", "data.jsonl", "", "demo", "shuffled", {"model": "demo"})
    with InspectLog(path, run) as writer:
        for each in judged_groups():
            writer.add(each)
        assert not path.exists()
        writer.finish(evaluate(judged_groups(), FILE, scorer="demo"))
    return path


def test_any_id_is_a_name_in_the_archive(tmp_path: Path) -> None:
    run = SavedRun("data", "data.jsonl", "data.jsonl", "", "demo", "shuffled", {"model": "demo"})
    ids = ("half \ud800", "x" * 100_000, "x" * 100_001, "nul \0", "../../up")
    judged = [make_judged((), None, id=each, error={"type": "MediaError", "message": "gone"}) for each in ids]
    with InspectLog(tmp_path / "inspect.eval", run) as writer:
        for each in judged:
            writer.add(each)
        writer.finish(evaluate(judged_groups(), FILE, scorer="demo"))
    names = [name for name in documents(tmp_path / "inspect.eval") if name.startswith("samples/")]
    assert len(names) == len(ids)
    assert all(len(name) < 300 and name.count("/") == 1 for name in names)


def documents(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as found:
        return {name: json.loads(found.read(name)) for name in found.namelist()}


def test_each_group_is_a_sample_and_the_header_has_the_figures(log: Path) -> None:
    found = documents(log)
    samples = [name for name in found if name.startswith("samples/")]
    assert samples == [f"samples/{name}_epoch_1.json" for name in ("a_b", "a_b#2", "tied", "h", "failed")]
    assert list(found["header.json"])[:4] == ["version", "status", "eval", "plan"]
    metrics = found["header.json"]["results"]["scores"][0]["metrics"]
    assert metrics["best of N"]["value"] == 0.5
    assert len(found["summaries.json"]) == 5


def test_a_sample_shows_the_picture_and_who_won(log: Path) -> None:
    found = documents(log)
    right, wrong = found["samples/a_b_epoch_1.json"], found["samples/a_b#2_epoch_1.json"]
    assert (right["scores"]["yoj"]["value"], wrong["scores"]["yoj"]["value"]) == ("C", "I")
    assert (right["target"], wrong["scores"]["yoj"]["answer"]) == (["A"], "B")
    assert found["samples/tied_epoch_1.json"]["scores"]["yoj"]["value"] == "P"
    picture = right["messages"][0]["content"][0]
    with (
        Image.open(BytesIO(base64.b64decode(picture["image"].partition(",")[2]))) as shown,
        Image.open(PICTURE) as own,
    ):
        assert shown.size == own.size
    assert right["messages"][-1]["content"][0]["text"].startswith("A  score 1.0000")
    assert found["samples/failed_epoch_1.json"]["error"]["message"] == "gone"


def test_a_run_that_stops_leaves_no_log(tmp_path: Path) -> None:
    run = SavedRun("data", "data.jsonl", "data.jsonl", "", "demo", "shuffled")

    def stop() -> None:
        with InspectLog(tmp_path / "inspect.eval", run) as writer:
            writer.add(judged_groups()[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(
    INSPECT not in os.environ,
    reason=f"set {INSPECT} to a Python that has inspect-ai: to install it takes two minutes and the network",
)
def test_inspect_reads_it(log: Path) -> None:
    done = subprocess.run(
        [os.environ[INSPECT], "-c", READ, str(log)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (found["status"], found["task"], found["model"]) == ("success", "data", "yoj/demo")
    assert found["metrics"]["best of N"] == 0.5
    assert sorted(sample[:4] for sample in found["samples"]) == [
        ["a_b", "C", 2, False],
        ["a_b#2", "I", 2, False],
        ["failed", None, 0, True],
        ["h", "N", 2, False],
        ["tied", "P", 2, False],
    ]
    assert found["second"] == "B"
    assert found["summaries"] == 5
