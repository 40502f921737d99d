"""What changes a score is stored with a checkpoint that we train, and named as resolved beside every score."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.conftest import PARITY, Run
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import CheckpointError, UsageError
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train
from yoj_cli.version import __version__

BASE = PARITY / "checkpoint"
OLD, NEW = "a" * 40, "b" * 40
GROUP = {"prompt": "p", "responses": ["a dog", "two cats"]}


@pytest.fixture
def hub_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A base in the Hub's cache in two revisions; main is the newer, whose weights are others."""
    import huggingface_hub.constants

    repository = tmp_path / "hub" / "models--someone--base"
    for commit in (OLD, NEW):
        shutil.copytree(BASE, repository / "snapshots" / commit)
    path = repository / "snapshots" / NEW / "model.safetensors"
    save_file(
        {name: weight * 1.1 for name, weight in load_file(path).items()}, path, metadata={"format": "pt"}
    )
    for name, commit in (("main", NEW), ("v1", OLD)):
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / name).write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return "someone/base"


def run(write_lines: Callable[..., Path], out: Path, **options: Any) -> Path:
    data = write_lines({**GROUP, "rankings": [1, 2]})
    small = {"device": "cpu", "quant": "none", "lora_r": 2, "head_dim": 8, "epochs": 1, "batch_size": 1}
    assert train(prepare([data], out, TrainConfig(**{"base": str(BASE)} | small | options)))
    return out


def load(folder: Path | str, **options: Any) -> Judge:
    return Judge.load(str(folder), device="cpu", quant="none", **options)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(read(path) | changes))


@pytest.mark.parametrize(("revision", "commit"), [(OLD, OLD), ("v1", OLD), (None, NEW)])
def test_an_adapter_keeps_to_the_revision_of_the_base_it_was_trained_on(
    hub_base: str, write_lines: Callable[..., Path], tmp_path: Path, revision: str | None, commit: str
) -> None:
    out = run(write_lines, tmp_path / "out", base=hub_base, base_revision=revision)
    before = load(out).score(**GROUP).scores
    main = tmp_path / "hub" / "models--someone--base" / "refs" / "main"
    main.write_text({OLD: NEW, NEW: OLD}[commit])  # main moves on to what it was not trained on
    judge = load(out)
    assert judge.score(**GROUP).scores == before
    assert (judge.description["base"], judge.description["base_revision"]) == (hub_base, commit)
    assert read(out / "reward_model_config.json")["base_revision"] == commit
    assert read(out / "adapter_config.json")["revision"] == commit
    merge(JudgeConfig(model=str(out)), tmp_path / "merged")
    assert load(tmp_path / "merged").score(**GROUP).scores == pytest.approx(before, abs=1e-5)


def test_a_revision_in_peft_s_own_configuration_counts_too(
    hub_base: str, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    out = run(write_lines, tmp_path / "out", base=hub_base, base_revision="v1")
    raw = read(out / "reward_model_config.json")
    for key in ("base_model", "base_revision"):
        del raw[key]
    (out / "reward_model_config.json").write_text(json.dumps(raw))
    assert load(out).description["base_revision"] == OLD


def test_a_folder_has_no_revision(write_lines: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--base-revision: a folder has no revisions"):
        run(write_lines, tmp_path / "out", base_revision="v1")


def test_the_judge_names_what_was_resolved(adapter_checkpoint: Path) -> None:
    found = load(adapter_checkpoint, dtype="float32").description
    assert found["base"] == str(BASE)
    assert (found["base_revision"], found["max_frames"], found["resp_repr_mode"]) == (None, 16, "last")
    assert (found["dtype"], found["device"]) == ("float32", "cpu")
    assert found["versions"]["yoj"] == __version__
    assert {"torch", "transformers", "tokenizers", "pillow"} <= set(found["versions"])


def test_frames_are_as_many_as_the_judge_was_trained_on_unless_told_otherwise(
    yoj: Run, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "frames").mkdir()
    for index in range(6):
        Image.new("RGB", (56, 56), (40 * index, 0, 90)).save(tmp_path / "frames" / f"{index}.png")
    out = run(write_lines, tmp_path / "out", max_frames=3)
    data = write_lines({**GROUP, "video": {"frames": "frames"}}, name="clips.jsonl")

    def score(*options: object) -> dict[str, Any]:
        code, stdout, stderr = yoj("score", data, "-m", out, "--device", "cpu", "--quant", "none", *options)
        assert code == 0, stderr
        found: dict[str, Any] = json.loads(stdout)
        return found

    own, same, other = score(), score("--max-frames", 3), score("--max-frames", 6)
    assert own["judge"]["max_frames"] == same["judge"]["max_frames"] == 3
    assert other["judge"]["max_frames"] == 6
    assert own["scores"] == same["scores"] != other["scores"]


@pytest.mark.parametrize("name", ["adapter", "official"])
def test_a_checkpoint_that_does_not_say_shows_16_frames(
    adapter_checkpoint: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(adapter_checkpoint if name == "adapter" else BASE, tmp_path / "judge")
    raw = read(folder / "reward_model_config.json")
    raw.pop("max_frames", None)
    (folder / "reward_model_config.json").write_text(json.dumps(raw))
    assert load(folder).max_frames == 16


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "16", None])
def test_a_number_of_frames_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    folder = shutil.copytree(BASE, tmp_path / "judge")
    edit_json(folder / "reward_model_config.json", max_frames=value)
    with pytest.raises(CheckpointError, match=f"max_frames is {value!r}, which is no number of frames"):
        load(folder)
