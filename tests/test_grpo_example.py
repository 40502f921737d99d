"""The example in examples/grpo: what it calls true, what it counts, and two short runs that give the same curves."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "grpo"


@pytest.fixture(scope="module")
def example():
    """Its modules by name."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def world(example):
    return example("world")


@pytest.fixture
def two_shapes(world):
    things = (("red", "circle", "center"), ("blue", "star", "top left"))
    return world.scenes.Scene(
        "picture", tuple(world.scenes.Thing(c, s, "big", p, "stays still") for c, s, p in things)
    )


def test_every_true_description_of_a_scene_is_read_as_true(world):
    for index in range(300):
        rng = world.rng_for("test", index)
        scene, _ = world.sample_picture(rng)
        assert world.is_true(world.caption(rng, scene).answer, scene)


def test_a_description_of_another_scene_has_as_many_wrong_facts_as_that_scene_differs_in(world):
    for index in range(300):
        rng = world.rng_for("test", index)
        (one, _), (other, _) = world.sample_picture(rng), world.sample_picture(rng)
        said = world.caption(rng, other).answer
        assert world.count_wrong(said, one) == world.scenes.count_wrong(other, one, world.TOLD)


@pytest.mark.parametrize(
    ("text", "n_wrong"),
    [
        ("I see a blue star in the top left and a red circle in the center.", 0),
        ("In the center a red circle, in the top left a blue star", 0),
        ("In the center a red square and in the top left a blue star.", 1),
        ("A red circle in the center.", 1),
        ("A red circle in the center and a blue star in the top left and a red circle in the center.", 1),
        ("A red circle in the center and.", None),
        ("A red circle in the center! A blue star in the top left!", None),
        ("a red circle a blue star", None),
        ("", None),
        ("good " * 50, None),
    ],
)
def test_wrong_facts_are_counted_and_what_is_no_sentence_is_not_true(world, two_shapes, text, n_wrong):
    assert world.count_wrong(text, two_shapes) == n_wrong


def test_uses_of_scenes_have_streams_of_their_own(world):
    assert len(set(world.STREAMS.values())) == len(world.STREAMS)
    assert [name for name, (split, _) in world.STREAMS.items() if split == "heldout"] == ["test"]


def test_an_average_over_steps_keeps_a_constant_and_is_fair_at_the_ends(example):
    running_mean = example("plots").running_mean
    assert running_mean([2.0] * 30) == pytest.approx([2.0] * 30)
    assert running_mean([0.0, 3.0, 6.0]) == pytest.approx([1.5, 3.0, 4.5])


def test_a_run_has_collapsed_when_it_tells_less_truth_or_cannot_do_what_it_could(example):
    why = example("results").why_collapsed
    before = {"accuracy": 0.4, "unreadable": 0.08, "count": 1.0, "entropy": 0.4}
    assert why(before, before | {"accuracy": 0.5, "unreadable": 0.09, "count": 0.95, "entropy": 0.03}) == []
    assert why(before, before | {"accuracy": 0.39}) == ["fewer true"]
    assert why(before, before | {"unreadable": 0.11, "count": 0.8, "entropy": 0.01}) == [
        "unreadable",
        "cannot count",
        "no entropy",
    ]


def test_the_majority_is_of_what_is_said_and_unreadable_captions_have_no_vote(example, world, two_shapes):
    module, measure = example("best_of_n"), example("measure")
    scene = measure.TestScene(0, two_shapes, None)
    texts = (
        "xyz",
        "xyz",
        "xyz",
        "A red circle in the center.",
        "In the center a red circle",
        "A red star in the center.",
    )
    assert module.pick_most_frequent(module.build_draw(scene, texts)) == 3
    assert module.pick_most_frequent(module.build_draw(scene, ("xyz", "abc"))) == 0


def test_an_interval_holds_its_mean_and_is_a_point_where_nothing_varies(example):
    interval = example("best_of_n").interval
    assert interval([1.0] * 20) == (1.0, 1.0, 1.0)
    mean, low, high = interval([0.0, 1.0] * 50)
    assert mean == 0.5
    assert high - low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)


def test_the_same_results_are_drawn_to_the_same_bytes(example, tmp_path):
    module = example("best_of_n")
    names = [way.name for way in module.WAYS] + list(module.OTHERS)
    rows = [
        {"way": name, "n": n, "true": [0.1 * i, 0.5]} for i, name in enumerate(names, start=1) for n in (1, 2)
    ]
    pictures = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for picture in pictures:
        module.draw(rows, picture)
    first, second = (picture.read_text(encoding="utf-8") for picture in pictures)
    assert first == second
    assert "<dc:date>" not in first
    assert module.table(rows).splitlines()[2] == "| multi | 30 [10, 50] | 30 [10, 50] |"


def test_the_published_tables_are_those_of_the_published_results(example):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    results, best_of_n = example("results"), example("best_of_n")
    for folder in ("results", "results-own", "results-small-steps"):
        rows = results.read_lines(FOLDER / folder / "results.jsonl")
        assert results.means_table(rows) in readme
        assert results.seeds_table(rows) in readme
    assert best_of_n.table(results.read_lines(FOLDER / "results" / "best_of_n.jsonl")) in readme


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_from_nothing_and_the_same_seed_gives_the_same_curves(tmp_path):
    def run(script: str, *argv: object) -> None:
        command = [sys.executable, str(FOLDER / script), *map(str, argv)]
        environment = os.environ | {"PYTHONPATH": str(FOLDER.parents[1]), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]

    tiny = ("--policy-steps", 1, "--scenes", 2)
    grpo = ("--steps", 2, "--learning-rate", 1e-3, "--beta", 0.1)
    run("run.py", tmp_path, "--judges", "demo", "--seeds", 3, *tiny, *grpo)
    curves = tmp_path / "runs" / "demo_3" / "curves.jsonl"
    lines = [json.loads(line) for line in curves.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert {"reward", "accuracy", "entropy", "kl", "length"} <= set(lines[0])
    rows = [
        json.loads(line) for line in (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row["run"] for row in rows] == ["before", "demo"]
    assert (tmp_path / "curves.svg").exists()
    run("grpo.py", "--policy", tmp_path / "policy", "--seed", 3, *grpo, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "curves.jsonl").read_bytes() == curves.read_bytes()
