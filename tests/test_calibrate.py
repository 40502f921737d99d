"""Temperatures: fitted, refused, written, stored, used; and abstention."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import replace

import pytest

from tests.verdicts import make_verdict, written
from yoj_cli.checkpoint.content_hash import content_hash
from yoj_cli.checkpoint.read import read_checkpoint
from yoj_cli.checkpoint.store_calibration import store_calibration
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError, InputError
from yoj_cli.evaluate.calibrate import calibrate
from yoj_cli.evaluate.judged import Judged
from yoj_cli.verdicts.calibration import (
    Calibration,
    Temperature,
    fit_temperature,
    parse_calibration,
    read_calibration,
)
from yoj_cli.verdicts.verdict import build_verdict, p_best


def simulate(n_groups, temperature, *, seed=0):
    """Scores, and rankings whose best response was drawn by softmax(scores / temperature)."""
    rng = random.Random(seed)
    scores, rankings = [], []
    for _ in range(n_groups):
        row = tuple(rng.gauss(0, 2) for _ in range(rng.randint(2, 6)))
        best = rng.choices(range(len(row)), p_best(row, temperature))[0]
        scores.append(row)
        rankings.append(tuple(1.0 if i == best else 2.0 for i in range(len(row))))
    return scores, rankings, [str(i) for i in range(n_groups)]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_to_5_percent(temperature):
    fit = fit_temperature(*simulate(4000, temperature))
    assert fit.temperature == pytest.approx(temperature, rel=0.05)
    assert fit.low < temperature < fit.high
    assert fit.high / fit.low < 1.25


def test_the_interval_holds_the_true_temperature_in_about_95_of_100_samples():
    fits = [fit_temperature(*simulate(150, 2.0, seed=seed)) for seed in range(100)]
    assert 88 <= sum(fit.low < 2.0 < fit.high for fit in fits) <= 100


def test_by_hand_two_of_three_right_at_a_gap_of_one_gives_1_over_log_2():
    # p = 1 / (1 + exp(-1 / T)) = 2 / 3 where exp(1 / T) = 2
    fit = fit_temperature([(1.0, 0.0)] * 3, [(1, 2), (1, 2), (2, 1)], ["a", "b", "c"])
    assert fit.temperature == pytest.approx(1 / math.log(2))


def test_tied_best_responses_share_the_target():
    # With both of three as best ones, half each: p of the lower tied one enters like the other's.
    one = fit_temperature([(1.0, 0.0, -1.0)], [(1, 1, 3)], ["a"])
    p = p_best((1.0, 0.0, -1.0), one.temperature)
    assert p[0] * 1.0 + p[2] * -1.0 == pytest.approx(0.5)  # the expected score is that of the target


def test_temperature_grows_with_the_scale_of_the_scores():
    scores, rankings, prompts = simulate(300, 1.0)
    one = fit_temperature(scores, rankings, prompts).temperature
    ten = fit_temperature(
        [tuple(1000 + 10 * s for s in row) for row in scores], rankings, prompts
    ).temperature
    assert ten == pytest.approx(10 * one, rel=1e-6)


def test_copies_of_a_prompt_do_not_narrow_the_interval():
    scores, rankings, prompts = simulate(200, 1.0)
    once = fit_temperature(scores, rankings, prompts)
    thrice = fit_temperature(scores * 3, rankings * 3, prompts * 3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert thrice.n_prompts == 200


def test_no_temperature_fits_scores_that_say_nothing_or_never_err():
    with pytest.raises(InputError, match="favour no best response"):
        fit_temperature([(0.0, 1.0), (1.0, 0.0)], [(1, 2), (1, 2)], ["a", "b"])
    with pytest.raises(InputError, match="shows no error to fit"):
        fit_temperature([(2.0, 1.0), (0.0, 1.0)], [(1, 2), (2, 1)], ["a", "b"])


def judged_of(scores, rankings, prompts):
    return [
        Judged(id=prompt, where="", scores=row, rankings=ranking, p_best=p_best(row), cluster=prompt)
        for row, ranking, prompt in zip(scores, rankings, prompts, strict=True)
    ]


def test_held_out_error_falls_to_what_a_calibrated_judge_has():
    found = calibrate(judged_of(*simulate(600, 4.0)), "multi")
    assert found.temperature.temperature == pytest.approx(4.0, rel=0.25)
    assert found.before.ece.value > 0.25
    assert found.after.ece.value < 0.09
    assert found.after.nll.value < found.after.uniform_nll < found.before.nll.value
    assert found.after.brier.value < found.before.brier.value
    assert found.after.ece.low is not None


def test_too_few_groups_are_refused_with_the_number_that_it_takes():
    with pytest.raises(InputError, match="12 prompts with a ranking cannot tell") as few:
        calibrate(judged_of(*simulate(12, 1.0)), "multi")
    assert "at least 30" in few.value.hint
    with pytest.raises(InputError, match="40 prompts cannot tell the temperature: it lies between") as vague:
        calibrate(judged_of(*simulate(40, 12.0, seed=2)), "multi")
    n_needed = int(vague.value.hint.split()[1])
    assert 40 < n_needed < 2000
    calibrate(judged_of(*simulate(3 * n_needed, 12.0, seed=1)), "multi")


def test_a_temperature_changes_p_best_and_nothing_else():
    plain, warm = (
        build_verdict(make_verdict(("a", "b"), (0.0, 1.0)).group, (0.0, 1.0), temperature=t) for t in (1, 2)
    )
    assert (plain.scores, plain.ranks) == (warm.scores, warm.ranks)
    assert warm.p_best[1] == pytest.approx(1 / (1 + math.exp(-0.5)))


MULTI = Temperature("multi", 1, None, 2.0, 1.8, 2.2, 300)
SINGLE = Temperature("single", 1, None, 0.5, 0.4, 0.6, 300)


def test_a_calibration_is_read_as_it_was_written(tmp_path):
    calibration = Calibration("judge", "c0ffee", (MULTI, SINGLE))
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration.to_json()))
    assert read_calibration(str(path)) == calibration
    assert calibration.find("single", 1, None) == SINGLE
    assert calibration.find("multi", 2, None) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"calibration_version": None}, "is no calibration"),
        ({"calibration_version": 2}, "this yoj reads 1"),
        ({"judge": {}}, "lacks its judge"),
        ({"temperatures": []}, "lacks its judge or its temperatures"),
        ({"temperatures": [{"mode": "multi"}]}, "is no temperature"),
        (
            {
                "temperatures": [
                    {**Calibration("", "", (MULTI,)).to_json()["temperatures"][0], "temperature": 0}
                ]
            },
            "no temp",
        ),
        ({"temperatures": ["x"]}, "is no temperature"),
    ],
)
def test_what_is_no_calibration_is_refused(change, says):
    raw = Calibration("judge", "c0ffee", (MULTI,)).to_json() | change
    with pytest.raises(InputError, match=says):
        parse_calibration(raw, "c.json")


def test_a_file_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(InputError, match="it is not JSON"):
        read_calibration(str(tmp_path / "c.json"))


@pytest.fixture
def own_judge(adapter_checkpoint, tmp_path):
    return shutil.copytree(adapter_checkpoint, tmp_path / "judge")


def checkpoint_of(folder):
    return read_checkpoint(JudgeConfig(model=str(folder)))


def test_a_stored_calibration_changes_one_file_and_not_the_judges_hash(own_judge):
    before = {path.name: path.stat().st_mtime_ns for path in own_judge.iterdir()}
    content = content_hash(checkpoint_of(own_judge))
    store_calibration(checkpoint_of(own_judge), Calibration("j", content, (MULTI,)))
    store_calibration(checkpoint_of(own_judge), Calibration("j", content, (SINGLE,)))
    found = checkpoint_of(own_judge)
    assert found.calibration == Calibration("j", content, (MULTI, SINGLE))
    assert content_hash(found) == content
    after = {path.name: path.stat().st_mtime_ns for path in own_judge.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"reward_model_config.json"}


def test_a_stored_calibration_for_other_files_is_replaced_whole(own_judge):
    store_calibration(checkpoint_of(own_judge), Calibration("j", "old", (SINGLE,)))
    store_calibration(checkpoint_of(own_judge), Calibration("j", "new", (MULTI,)))
    assert checkpoint_of(own_judge).calibration == Calibration("j", "new", (MULTI,))


def test_a_broken_stored_calibration_is_an_error_of_the_checkpoint(own_judge):
    path = own_judge / "reward_model_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"calibration": {"calibration_version": 1}}))
    with pytest.raises(CheckpointError, match="lacks its judge"):
        checkpoint_of(own_judge)


def test_a_judge_uses_its_stored_calibration_for_that_mode_only(own_judge, judges):
    group = {"prompt": "p", "responses": ["one", "two", "three"]}
    (plain,) = judges(own_judge).score_groups([group])
    store_calibration(checkpoint_of(own_judge), Calibration("j", "c", (MULTI,)))
    judge = judges(own_judge, seed=1)
    (warm,) = judge.score_groups([group])
    assert (warm.scores, warm.ranks) == (plain.scores, plain.ranks)
    assert warm.p_best == pytest.approx(p_best(plain.scores, 2.0))
    assert judge.description["calibration"]["temperature"] == 2.0
    other = judges(own_judge, mode="single")
    assert (other.temperature, other.description["calibration"]) == (1.0, {"temperature": None})


def ranked_by_the_demo_judge(yoj, write_lines, n, temperature):
    """Text groups whose best response is drawn by the demo judge's own scores at a temperature."""
    rng = random.Random(0)
    words = ["red", "blue", "green", "circle", "square", "star", "left", "right", "top", "big", "small"]
    lines = [
        {
            "id": str(i),
            "prompt": f"Which is best, number {i}?",
            "responses": [" ".join(rng.sample(words, 3)) for _ in range(3)],
        }
        for i in range(n)
    ]
    code, out, _ = yoj("score", write_lines(*lines, name="raw.jsonl"), "-m", "demo", "--mode", "single")
    assert code == 0
    for line, verdict in zip(lines, map(json.loads, out.splitlines()), strict=True):
        best = rng.choices(range(3), p_best(verdict["scores"], temperature))[0]
        line["rankings"] = [1 if i == best else 2 for i in range(3)]
    return write_lines(*lines, name="ranked.jsonl")


@pytest.mark.slow
def test_calibrate_writes_a_file_that_score_rank_and_eval_use(yoj, write_lines, tmp_path):
    path = ranked_by_the_demo_judge(yoj, write_lines, 200, 0.5)
    judge = ("-m", "demo", "--mode", "single")  # alone, so that no order changes a score
    out = tmp_path / "calibration.json"
    code, text, err = yoj("calibrate", path, *judge, "-o", out, "--json")
    assert (code, f"written: {out}" in err) == (0, True)
    (found,) = json.loads(text)["calibrated"]
    assert found["low"] < 0.5 < found["high"]
    assert found["after"]["nll"]["value"] < found["before"]["nll"]["value"]
    plain = json.loads(yoj("score", path, *judge, "--limit", 1)[1])
    warm = json.loads(yoj("score", path, *judge, "--limit", 1, "--calibration", out)[1])
    assert (plain["scores"], plain["ranks"]) == (warm["scores"], warm["ranks"])
    assert warm["p_best"] == pytest.approx(p_best(plain["scores"], found["temperature"]), rel=1e-5)
    assert warm["judge"]["calibration"]["temperature"] == found["temperature"]
    assert "calibration" not in plain["judge"]
    code, _, err = yoj("score", path, "-m", "demo", "--limit", 1, "--calibration", out, "--orders", 2)
    assert code == 2
    assert "was fitted for single, not for multi with 2 orders" in err
    code, _, _ = yoj("eval", path, *judge, "--calibration", out, "--no-reversal", "--json", "--limit", 20)
    assert code == 0
    code, _, err = yoj("calibrate", path, *judge, "-o", out)
    assert (code, "holds" in err) == (2, True)


def test_a_calibration_of_another_judge_is_refused(yoj, write_lines, tmp_path):
    path = write_lines({"prompt": "p", "responses": ["a", "b"]})
    out = tmp_path / "c.json"
    out.write_text(json.dumps(Calibration("other", "c0ffee", (MULTI,)).to_json()))
    code, _, err = yoj("score", path, "-m", "demo", "--calibration", out)
    assert code == 2
    assert "is of another judge: it was fitted for 'other'" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.jsonl", "-m", "demo"], "no place to go"),
        (["x.jsonl", "-m", "demo", "-o", "c.json", "--calibration", "c.json"], "is fitted here, not read"),
        (["x.jsonl", "-m", "demo", "--store", "--overwrite"], "nothing to overwrite"),
    ],
)
def test_calibrate_refuses_contradictions(yoj, arguments, says):
    code, _, err = yoj("calibrate", *arguments)
    assert code == 2
    assert says in err


def test_the_embedded_judge_is_not_changed(yoj, write_lines):
    path = write_lines({"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2]})
    code, _, err = yoj("calibrate", path, "-m", "demo", "--store")
    assert code == 2
    assert "the embedded judge is part of the program" in err


def test_abstaining_writes_no_best_counts_and_escalates(yoj, write_lines, tmp_path):
    sure = {"id": "sure", "prompt": "p", "responses": ["only one"]}
    unsure = {"id": "unsure", "prompt": "p", "responses": ["same", "same", "same"], "note": 7}
    out = tmp_path / "hard.jsonl"
    arguments = ("-m", "demo", "--abstain-below", 1, "--escalate", out)
    code, text, err = yoj("score", write_lines(sure, unsure), *arguments)
    first, second = map(json.loads, text.splitlines())
    assert code == 0
    assert (first["best"], "abstained" in first) == (0, False)
    assert (second["best"], second["abstained"]) == (None, True)
    assert second["judge"]["abstain_below"] == 1
    assert len(second["ranks"]) == 3
    assert json.loads(out.read_text()) == unsure
    assert "2 groups judged · 1 abstained" in err


def test_where_nothing_abstains_the_escalated_file_is_empty(yoj, write_lines, tmp_path):
    out = tmp_path / "hard.jsonl"
    path = write_lines({"prompt": "p", "responses": ["only one"]})
    assert yoj("score", path, "-m", "demo", "--abstain-below", 1, "--escalate", out)[0] == 0
    assert out.read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--abstain-below", "0"], "is no probability above 0"),
        (["--escalate", "x.jsonl"], "nothing abstains without"),
        (
            ["--abstain-below", "0.5", "--escalate", "x.jsonl", "--resume", "-o", "y.jsonl"],
            "a run in one piece",
        ),
    ],
)
def test_abstaining_refuses_what_makes_no_sense(yoj, write_lines, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, _, err = yoj("score", write_lines({"prompt": "p", "responses": ["a"]}), "-m", "demo", *arguments)
    assert code == 2
    assert says in err


def test_an_abstained_verdict_has_no_star():
    verdict = make_verdict(("a", "b"), (0.0, 0.1))
    assert "★" in written("table", verdict)
    text = written("table", replace(verdict, abstained=True))
    assert "★" not in text
    assert "abstained" in text
    assert "**" not in written("markdown", replace(verdict, abstained=True))


def test_a_line_that_abstained_is_judged_again_without_its_old_verdict(yoj, write_lines):
    path = write_lines({"prompt": "p", "responses": ["same", "same"]})
    line = yoj("score", path, "-m", "demo", "--abstain-below", 1)[1]
    again = json.loads(yoj("score", "-", "-m", "demo", stdin=line)[1])
    assert again["best"] is not None
    assert "abstained" not in again
    assert "input_fields" not in again
