"""Where a run may begin, and which saved states it goes on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tests.test_train import SMALL, groups, run, stop_after_two_steps
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import ModelError, UsageError
from yoj_cli.train.prepare import prepare

__all__ = ["groups"]  # a fixture


@pytest.fixture
def interrupted(groups, tmp_path) -> Path:
    stop_after_two_steps(groups, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["README.md", "data.json", "recipe.toml", "tokenizer.json"])
def test_files_of_others_are_not_written_over(groups, tmp_path, name):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / name).write_text("[1]")
    with pytest.raises(UsageError, match=f"would be written over: {name}[\\s\\S]*new folder"):
        prepare([groups], tmp_path / "project", TrainConfig(**SMALL))


def test_what_an_attempt_left_that_saved_no_state_is_forgotten(groups, interrupted):
    for name in ("checkpoint-2", "curves.png"):
        path = interrupted / name
        path.rename(interrupted.parent / name)
    lines = (interrupted / "metrics.jsonl").read_text()
    (interrupted / "metrics.jsonl").write_text('{"step": 0, "eval_loss": 9}\n' + lines)
    (interrupted / "best-7").mkdir()
    assert run(groups, interrupted)
    steps = [json.loads(line)["step"] for line in (interrupted / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert 0 not in steps
    assert not (interrupted / "best-7").exists()


def test_a_saved_state_that_is_not_whole_is_not_gone_on_from(groups, interrupted):
    def resume() -> None:
        prepare([groups], interrupted, TrainConfig(**SMALL), resume=True)

    state = interrupted / "checkpoint-2"
    for name in ("scheduler.pt", "optimizer.pt", "rng_state.pth", "adapter_model.safetensors"):
        content = (state / name).read_bytes()
        (state / name).unlink()
        with pytest.raises(ModelError, match=f"lacks {name}[\\s\\S]*--resume-from"):
            resume()
        (state / name).write_bytes(content)
    for name in ("scheduler.pt", "optimizer.pt", "trainer_state.json"):
        content = (state / name).read_bytes()
        (state / name).write_bytes(content[:100])
        with pytest.raises(ModelError, match=f"{name}: the saved state is damaged[\\s\\S]*--resume-from"):
            resume()
        (state / name).write_bytes(content)
    resume()
    (interrupted / "data.json").write_text("[]")
    with pytest.raises(UsageError, match="does not say how the run began"):
        resume()


def test_a_run_is_not_resumed_with_other_held_out_data(groups, interrupted):
    with pytest.raises(UsageError, match=r"held-out data have changed[\s\S]*the same --eval"):
        prepare([groups], interrupted, TrainConfig(**SMALL), held_out=[groups], resume=True)


def test_a_best_state_that_finds_no_room_is_an_error_that_says_where(groups, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr("yoj_cli.train.run.save_state", fail)
    with pytest.raises(
        ModelError, match=r"best-2: the best state cannot be saved \(.*No space left[\s\S]*--resume"
    ):
        run(groups, tmp_path / "out", held_out=[groups], keep_best="loss")
