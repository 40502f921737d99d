"""Running means of a training run, signs that it learns nothing, the best state, and intervals of an evaluation."""

from __future__ import annotations

import json

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from yoj_cli.config.train import TrainConfig
from yoj_cli.train.best import BestCallback, best_step
from yoj_cli.train.evaluation import Outcome, summarize
from yoj_cli.train.progress import RunningMeans, warnings_at_end


def line(step, *, loss=0.5, spread=0.5):
    return {"step": step, "loss": loss, "constant_loss": 0.69, "spread": spread, "grad_norm": 0.1}


def filled(n, **values):
    means = RunningMeans(64)
    for step in range(1, n + 1):
        means.add(line(step, **values))
    return means


@pytest.mark.parametrize(("batch_size", "n"), [(64, 10), (4, 64), (1000, 10)])
def test_means_are_over_256_groups_and_at_least_ten_steps(batch_size, n):
    means = RunningMeans(batch_size)
    for step in range(100):
        means.add({"step": step, "loss": float(step)})
    assert means.n_steps == n
    assert means.mean("loss") == pytest.approx(99 - (n - 1) / 2)


def test_a_run_that_learns_has_no_sign_of_failure():
    assert filled(20).signs(20, 20) == []


@pytest.mark.parametrize(
    ("values", "signs"),
    [
        ({"spread": 0.0003, "loss": 0.69}, ["collapsed", "nothing_learnt"]),
        ({"loss": 0.69}, ["nothing_learnt"]),
        ({"loss": 5.0}, ["worse_than_constant"]),
    ],
)
def test_signs_show_after_a_quarter_of_the_run_and_at_its_end(values, signs):
    means = filled(20, **values)
    assert means.signs(20, 100) == []
    assert means.signs(25, 100) == signs
    assert filled(5, **values).signs(5, 5) == signs


def test_the_figures_stand_in_the_warning():
    [collapsed, nothing] = warnings_at_end([line(step, loss=0.69, spread=3e-4) for step in range(12)], 64)
    assert "over the last 10 steps, scores within a group are 0.0003 apart" in collapsed
    assert "the loss of 0.69 is not clearly below the 0.69" in nothing


def test_a_held_out_result_that_may_be_chance_is_said_to_be():
    held_out = {"step": 4, "eval_loss": 1, "eval_best_of_n": 0.5, "eval_chance": 0.25}
    bad = held_out | {"eval_best_of_n_low": 0.2, "eval_best_of_n_high": 0.8}
    good = held_out | {"eval_best_of_n_low": 0.3, "eval_best_of_n_high": 0.7}
    assert "is not clearly above the 25.0% of a blind pick" in warnings_at_end([bad], 64)[0]
    assert warnings_at_end([good], 64) == []


def test_the_held_out_result_that_is_judged_is_that_of_the_state_that_is_kept():
    held_out = {"eval_loss": 1, "eval_best_of_n": 0.5, "eval_chance": 0.25, "eval_best_of_n_high": 0.8}
    lines = [
        {**held_out, "step": 2, "eval_best_of_n_low": 0.3},
        {**held_out, "step": 4, "eval_best_of_n_low": 0.2},
    ]
    assert warnings_at_end(lines, 64, kept_step=2) == []
    assert len(warnings_at_end(lines, 64, kept_step=4)) == len(warnings_at_end(lines, 64)) == 1


def test_the_best_step_is_the_first_of_equals_and_never_the_untrained_state():
    lines = [
        {"step": step, "eval_tau": tau} for step, tau in [(0, 0.9), (2, 0.1), (4, 0.3), (6, 0.3), (8, 0.2)]
    ]
    assert best_step(TrainConfig(keep_best="tau"), lines) == (4, 2)
    assert best_step(TrainConfig(keep_best="loss"), lines) == (0, 0)
    assert best_step(TrainConfig(), lines) == (0, 0)


def test_the_best_state_of_every_saved_state_is_kept_until_no_run_can_go_on_from_it(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    callback = BestCallback(TrainConfig(keep_best="tau"), metrics, lambda folder: folder.mkdir())
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)

    def evaluate(step: int, tau: float, *saved: int) -> set[str]:
        for other in tmp_path.glob("checkpoint-*"):
            other.rmdir()
        for each in saved:
            (tmp_path / f"checkpoint-{each}").mkdir()
        with metrics.open("a") as file:
            file.write(json.dumps({"step": step, "eval_tau": tau}) + "\n")
        state = TrainerState(global_step=step)
        callback.on_evaluate(arguments, state, TrainerControl())
        return {each.name for each in tmp_path.glob("best-*")}

    assert evaluate(10, 0.1) == {"best-10"}
    assert evaluate(30, 0.2, 20) == {
        "best-10",
        "best-30",
    }  # one that goes on from 20 may not come to 30 again
    assert evaluate(40, 0.0, 20) == {"best-10", "best-30"}
    assert evaluate(50, 0.3, 40) == {"best-30", "best-50"}
    assert evaluate(60, 0.4, 55) == {"best-50", "best-60"}


def outcome(prompt, scores, *, flipped=False):
    return Outcome(scores, (1.0, 2.0), 0.5, flipped, prompt)


def test_an_evaluation_has_intervals_over_prompts():
    found = summarize([outcome(str(n % 10), (1.0, 0.0) if n < 15 else (0.0, 1.0)) for n in range(20)])
    assert found["eval_best_of_n"] == found["eval_pairs"] == 0.75
    assert found["eval_tau"] == 0.5
    assert found["eval_best_of_n_low"] < 0.75 < found["eval_best_of_n_high"]
    # 5 of 10 prompts are all right, 5 half right: standard error sqrt(0.0625 / 10) = 0.079.
    assert found["eval_best_of_n_low"] == pytest.approx(0.75 - 1.96 * 0.079, abs=0.02)
    # None is flipped: Wilson's upper end for 0 of 10.
    assert (found["eval_flipped_low"], found["eval_flipped_high"]) == (0, pytest.approx(0.2775, abs=1e-3))


def test_one_prompt_alone_has_no_interval():
    assert "eval_best_of_n_low" not in summarize([outcome("p", (1.0, 0.0)), outcome("p", (1.0, 0.0))])
