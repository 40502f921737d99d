"""The experiment in examples/multi_vs_single: its own arithmetic, and its scripts from end to end on a tiny size."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from yoj_cli.groups import Group, Message
from yoj_cli.plan.branches import build_plan
from yoj_cli.train.losses import n_way_cross_entropy

FOLDER = Path(__file__).parents[1] / "examples" / "multi_vs_single"


@pytest.fixture(scope="module")
def example():
    """Its modules by name."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


def test_orders_with_the_same_margins_are_consistent_whatever_their_offset(example):
    inconsistency = example("experiment").inconsistency
    found = inconsistency([(0, 1), (1, 0)], [torch.tensor([2.0, 0.0]), torch.tensor([5.0, 7.0])])
    assert found.item() == 0


def test_inconsistency_is_the_variance_over_orders_of_centred_scores(example):
    """Centred: (1, -1) and, back in the group's order, (3, -3); each response varies by 1 around 2 or -2."""
    inconsistency = example("experiment").inconsistency
    found = inconsistency([(0, 1), (1, 0)], [torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 3.0])])
    assert found.item() == pytest.approx(1.0)


def test_one_order_trains_as_yoj_train_does(example):
    module = example("experiment")
    group = Group("a", (), ("x", "y", "z"), (2.0, 1.0, 3.0))
    scores = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    setting = module.Setting("one", {}, orders=1, consistency=1.0)
    loss = module.group_loss(setting, n_way_cross_entropy, group, build_plan(3), [scores])
    expected = n_way_cross_entropy(scores, torch.tensor(group.rankings))
    assert loss.item() == expected.item()
    assert torch.equal(*(torch.autograd.grad(each, scores)[0] for each in (loss, expected)))


def test_each_order_is_ranked_in_its_own_order(example):
    """The best response is "y"; both orders give it 1 and the other 0."""
    module = example("experiment")
    group = Group("a", (), ("x", "y"), (2.0, 1.0))
    rows = [torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])]
    loss = module.group_loss(
        module.Setting("two", {}, orders=2), n_way_cross_entropy, group, build_plan(2, orders=2), rows
    )
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-1)))


def test_an_interval_holds_its_mean_and_narrows_with_groups(example):
    interval = example("tables").interval
    few = interval(np.array([[0, 1] * 5] * 3))
    many = interval(np.array([[0, 1] * 500] * 3))
    assert few[0] == many[0] == 0.5
    assert few[1] < many[1] < 0.5 < many[2] < few[2]
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(1000), rel=0.1)


def test_groups_of_one_prompt_are_drawn_together(example):
    """Two groups a prompt with the same outcome say no more than one group a prompt."""
    interval = example("tables").interval
    once = interval(np.array([[0, 1] * 20]))
    twice = interval(np.array([[0, 0, 1, 1] * 20]), np.arange(40).repeat(2))
    apart = interval(np.array([[0, 0, 1, 1] * 20]))
    assert twice == once
    assert apart[2] - apart[1] < 0.8 * (twice[2] - twice[1])


def test_groups_are_numbered_by_their_prompt_where_some_share_one(example):
    number_prompts = example("experiment").number_prompts
    one, other = (Group(name, (Message("user", (name,)),), ("x", "y"), (2.0, 1.0)) for name in "ab")
    assert number_prompts([one, other]) == {}
    assert number_prompts([one, other, one]) == {"prompts": [0, 1, 0]}


def test_near_misses_differ_in_their_one_change(example):
    module = example("near_misses")
    scenes = sys.modules["scenes"]
    for index in range(20):
        group = module.sample_group(scenes.rng_for("heldout", 3, index), 4)
        assert sorted(response.n_wrong for response in group.responses)[0] == 0
        assert sum(response.n_wrong == 0 for response in group.responses) == 1
        assert max(response.n_wrong for response in group.responses) <= 4


@pytest.mark.slow
def test_the_scripts_run_from_end_to_end_and_do_nothing_twice(tmp_path):
    def run(script: str, *argv: str) -> str:
        command = [sys.executable, str(FOLDER / script), *argv]
        environment = os.environ | {"PYTHONPATH": str(FOLDER.parents[1])}
        return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout

    run("make_backbone.py", "--minutes", "0.02", "--batch-size", "2", "--out", str(tmp_path / "backbone"))
    work = str(tmp_path / "work")
    claim = ("claim.py", work, "--backbone", str(tmp_path / "backbone"), "--seeds", "0")
    claim += ("--n-train", "8", "--n-held-out", "3")
    assert run(*claim).count("\n") == 3
    assert run(*claim) == ""
    results = tmp_path / "work" / "claim.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert {len(row["hits"]) for row in rows if "hits" in row} == {3}
    run("learning_start.py", work, "--steps", "1", "--seeds", "0", "--n-held-out", "2")
    table = run("tables.py", str(results), str(tmp_path / "work" / "learning_start_demo.jsonl"))
    assert "| multi, ce (1 seed) |" in table
    assert "head std 0.1" in table
    run("make_text_base.py", work, "--n-groups", "12")
    text = ("--base", f"{work}/text-base", "--data", f"{work}/text.jsonl")
    run("learning_start.py", work, *text, "--only", "4", "--seeds", "0", "--steps", "1", "--n-held-out", "2")
    assert "head rate 1e-2" in run("tables.py", f"{work}/learning_start_text-base.jsonl")
    assert "8 to train on, 2 held out" in run("real.py", work, *text, "--n-train", "8", "--n-held-out", "2")
    assert "| multi less single |" in run("tables.py", f"{work}/real.jsonl")
