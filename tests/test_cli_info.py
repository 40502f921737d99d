"""`yoj info`: what is here, without a network or a GPU."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import PARITY, Run
from tests.hostile_checkpoints import edit
from yoj_cli.config.judge import DEFAULT_MODEL
from yoj_cli.version import __version__

MODEL = PARITY / "checkpoint"


def facts(yoj: Run, *arguments: object) -> dict[str, Any]:
    code, out, err = yoj("info", "--json", *arguments)
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_versions_and_the_machine(yoj: Run) -> None:
    found = facts(yoj)
    assert found["yoj"] == __version__
    assert re.match(r"\d+\.\d+", found["libraries"]["torch"])
    assert found["machine"]["cpu_threads"] >= 1
    assert isinstance(found["machine"]["gpus"], list)


def test_the_default_judge_is_named_and_not_fetched(yoj: Run, tmp_path: Path) -> None:
    judge = facts(yoj)["judge"]
    assert (judge["model"], judge["chosen_by"]) == (DEFAULT_MODEL, "default")
    assert judge["checkpoint"] == {
        "folder": None,
        "size_gb": None,
        "problem": "not on this machine; downloaded from the Hub at first use",
    }


def test_a_folder_and_its_device(yoj: Run) -> None:
    judge = facts(yoj, "-m", MODEL, "--device", "cpu", "--dtype", "float32")["judge"]
    assert (judge["model"], judge["chosen_by"]) == (str(MODEL), "--model")
    assert (judge["device"], judge["dtype"], judge["device_problem"]) == ("cpu", "float32", None)
    assert judge["checkpoint"]["folder"] == str(MODEL)
    assert judge["checkpoint"]["size_gb"] == pytest.approx(0.002, abs=0.001)
    assert judge["base"] is None


def test_an_adapter_names_its_backbone(yoj: Run, adapter_checkpoint: Path) -> None:
    judge = facts(yoj, "-m", adapter_checkpoint)["judge"]
    assert judge["checkpoint"]["folder"] == str(adapter_checkpoint)
    assert judge["base"]["name"] == judge["base"]["folder"] == str(MODEL)
    out = yoj("info", "-m", adapter_checkpoint)[1]
    assert re.search(r"^backbone +\S+checkpoint\n +\S+checkpoint \(2 MB\)$", out, re.MULTILINE)


def test_the_embedded_judge_runs_anywhere(yoj: Run) -> None:
    judge = facts(yoj, "-m", "demo")["judge"]
    assert judge["device_problem"] is None
    assert (judge["quant"], judge["dtype"]) == ("4bit", "float32")  # what its figures were measured in


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_would_be_used_is_what_is_then_used(yoj: Run, adapter_checkpoint: Path, judges: Any) -> None:
    judge = facts(yoj, "-m", adapter_checkpoint)["judge"]
    used = judges(adapter_checkpoint, quant="auto", dtype="auto")
    assert (judge["quant"], judge["dtype"]) == (used.description["quant"], used.description["dtype"])
    assert judge["device"] == str(used.backbone.device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_the_default_judge_needs_asking(yoj: Run) -> None:
    assert "--device cpu" in facts(yoj)["judge"]["device_problem"]
    judge = facts(yoj, "--device", "cpu")["judge"]
    assert (judge["device"], judge["quant"], judge["device_problem"]) == ("cpu", None, None)


def test_the_environment_names_the_judge(yoj: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOJ_MODEL", str(MODEL))
    judge = facts(yoj)["judge"]
    assert (judge["model"], judge["chosen_by"]) == (str(MODEL), "$YOJ_MODEL")


@pytest.mark.parametrize(
    ("model", "problem"), [("./nope", "there is no such folder"), (str(PARITY), "is not a reward model")]
)
def test_what_is_wrong_with_a_judge_is_said_and_is_no_failure(yoj: Run, model: str, problem: str) -> None:
    assert problem in facts(yoj, "-m", model)["judge"]["checkpoint"]["problem"]
    code, out, _ = yoj("info", "-m", model)
    assert code == 0
    assert problem in out


def test_a_tokenizer_that_would_end_the_process_is_a_problem_too(yoj: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(MODEL, tmp_path / "judge")
    edit("tokenizer.json", "model", "continuing_subword_prefix", value="x")(folder)
    assert "continuation" in facts(yoj, "-m", folder)["judge"]["separator"]["problem"]


def test_for_people(yoj: Run) -> None:
    code, out, err = yoj("info", "-m", MODEL, "--device", "cpu", "--dtype", "float32")
    assert (code, err) == (0, "")
    rows = [(line[:15].rstrip(), line[15:]) for line in out.splitlines()]
    names = [name for name, _ in rows]
    assert names[:3] == ["yoj", "python", "system"]
    assert ("judge", f"{MODEL} (--model)") in rows
    assert ("files", f"{MODEL} (2 MB)") in rows
    assert ("runs on", "cpu, float32, unquantized") in rows
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_device_that_is_not_there(yoj: Run) -> None:
    judge = facts(yoj, "-m", MODEL, "--device", "cuda:99")["judge"]
    assert judge["device"] is None
    assert "GPU" in judge["device_problem"]
