"""What a run starts from and how its checkpoint names it: `--init-from`, `--base`, and no path of this machine."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.adapters import ALPHA, RANK, make_official_adapter
from tests.conftest import PARITY, Run
from tests.tiny_text_bases import make_base
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import CheckpointError, ModelError, UsageError
from yoj_cli.groups import Group
from yoj_cli.plan.branches import build_plan
from yoj_cli.records.parse import parse
from yoj_cli.train.model import build_sequences, load_model
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train
from yoj_cli.train.starting_point import base_name, find_base, resolve_base

GROUP = {"prompt": "Which dog?", "responses": ["the dog", "a cat in the park", "two dogs"]}
MOLMO = PARITY / "checkpoint"


def recipe(**options: Any) -> TrainConfig:
    small = {
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "head_dim": 32,
        "gradient_checkpointing": False,
    }
    return TrainConfig(**{"device": "cpu", "quant": "none", "batch_size": 2, "epochs": 1, **small, **options})


def load(folder: Path, **options: Any) -> Judge:
    return Judge.load(str(folder), **{"device": "cpu", "quant": "none", "dtype": "float32", **options})


def scores(folder: Path, **options: Any) -> list[float]:
    return list(load(folder, **options).score(**GROUP).scores)


def first_scores(config: TrainConfig) -> list[float]:
    """What the model of a run gives before its first step."""
    config = resolve_base(config)
    model = load_model(config, find_base(config)).eval()
    group = parse(GROUP)
    assert isinstance(group, Group)
    with torch.no_grad():
        ((found,),) = model([build_sequences(config, model.backbone).build(group, [], build_plan(3))])
    return found.tolist()


@pytest.fixture
def data(write_lines) -> Path:
    return write_lines(*({**GROUP, "rankings": [1, 2, 3]} for _ in range(4)))


def run(data: Path, out: Path, **options: Any) -> Path:
    assert train(prepare([data], out, recipe(**options)))
    return out


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "llama", "llama")


@pytest.fixture(scope="module")
def first_run(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-only judge beside its base."""
    root = tmp_path_factory.mktemp("first")
    base = shutil.copytree(llama, root / "base")
    data = root / "data.jsonl"
    data.write_text(4 * (json.dumps({**GROUP, "rankings": [1, 2, 3]}) + "\n"))
    run(data, root / "judge", base=str(base), learning_rate=1e-2, head_std=0.5)
    return root


@pytest.fixture
def judge(first_run: Path, tmp_path: Path) -> Path:
    """A copy of that judge and its base, to be moved about."""
    return Path(shutil.copytree(first_run, tmp_path / "here")) / "judge"


def test_the_base_is_named_by_a_relative_path_and_both_move_together(judge, first_run, tmp_path):
    wanted = scores(judge)
    for name in ("reward_model_config.json", "adapter_config.json"):
        assert json.loads((judge / name).read_text()).get(
            "base_model", json.loads((judge / name).read_text()).get("base_model_name_or_path")
        ) == os.path.join("..", "base")
    for path in judge.iterdir():
        if path.suffix in (".json", ".md"):
            assert str(first_run) not in path.read_text(), path.name
    (tmp_path / "here").rename(tmp_path / "there")
    assert scores(tmp_path / "there" / "judge") == wanted


def test_a_base_that_moved_away_is_said_where_it_was_looked_for_and_taken_from_where_it_is(
    judge, tmp_path, yoj
):
    wanted = scores(judge)
    (judge.parent / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="no such folder") as error:
        load(judge)
    assert str(error.value.where) == str(judge / ".." / "base")
    assert "--base" in str(error.value.hint)
    found = load(judge, base=str(tmp_path / "elsewhere"))
    assert list(found.score(**GROUP).scores) == wanted
    assert found.description["base"] == str(tmp_path / "elsewhere")
    assert yoj("merge", judge, "--base", tmp_path / "elsewhere", "-o", tmp_path / "merged")[0] == 0
    assert scores(tmp_path / "merged") == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(UsageError, match="merged model, which has no base"):
        load(tmp_path / "merged", base=str(tmp_path / "elsewhere"))


def test_a_snapshot_of_the_hubs_cache_is_named_as_the_hub_does(tmp_path, llama):
    snapshot = shutil.copytree(llama, tmp_path / "hub" / "models--owner--na--me" / "snapshots" / ("a" * 40))
    assert base_name(recipe(base=str(snapshot)), tmp_path) == "owner/na--me"
    assert load_model(recipe(base=str(snapshot)), snapshot).base_revision == "a" * 40


def test_the_card_of_a_text_only_judge_speaks_of_text(judge):
    card = (judge / "README.md").read_text()
    assert "vision" not in card.partition("---\n\n")[0]
    assert "images" not in card
    assert "pictures" not in card.partition("## What it was trained on")[0]
    assert "`../base`" in card


def test_a_run_goes_on_from_our_judge_with_its_scores(judge, data, tmp_path):
    wanted = scores(judge)
    assert first_scores(recipe(init_from=str(judge))) == pytest.approx(wanted, abs=1e-6)
    again = run(data, tmp_path / "again", init_from=str(judge), learning_rate=1e-2)
    config = json.loads((again / "reward_model_config.json").read_text())
    assert config["base_model"] == os.path.join("..", "here", "base")  # not the judge's own name of it
    assert scores(again) != pytest.approx(wanted, abs=1e-6)
    rows = [load_file(folder / "separator.safetensors")["embedding_rows"] for folder in (judge, again)]
    assert torch.equal(*rows)
    assert json.loads((again / "data.json").read_text())["recipe"]["init_from"] == os.path.join(
        "..", "here", "judge"
    )


def test_a_resumed_run_that_went_on_from_a_judge_equals_an_uninterrupted_one(judge, data, tmp_path):
    options = {"init_from": str(judge), "save_every": 1, "learning_rate": 1e-2}
    whole = run(data, tmp_path / "whole", **options)
    shutil.copytree(whole, tmp_path / "part")
    for path in (tmp_path / "part").iterdir():
        if path.name not in ("data.json", "recipe.toml", "checkpoint-1"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert train(prepare([data], tmp_path / "part", recipe(**options), resume=True))
    for name in ("adapter_model.safetensors", "value_head.safetensors", "separator.safetensors"):
        assert (tmp_path / "part" / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("tied", [True, False])
def test_a_run_goes_on_from_an_adapter_of_the_released_trainer(tmp_path, tied):
    official = make_official_adapter(tmp_path / "official")
    size = {"lora_r": RANK, "lora_alpha": ALPHA, **official_head(official)}
    found = first_scores(recipe(init_from=str(official), tie_lora=tied, **size))
    assert found == pytest.approx(scores(official), abs=1e-5)


def official_head(folder: Path) -> dict[str, object]:
    config = json.loads((folder / "reward_model_config.json").read_text())
    return {
        "head_type": config["value_head_type"],
        "head_dim": config["value_head_hidden_dim"],
        "head_activation": config["value_head_activation"],
    }


def test_of_a_merged_judge_the_head_is_taken_on_the_merged_weights(tmp_path, data):
    config = recipe(init_from=str(MOLMO), **official_head(MOLMO))
    assert first_scores(config) == pytest.approx(scores(MOLMO), abs=1e-5)
    assert resolve_base(config).base == str(MOLMO)
    with pytest.raises(UsageError, match="a merged model, which is the base itself"):
        resolve_base(recipe(init_from=str(MOLMO), base="demo"))


def test_a_merged_text_judge_with_a_grown_vocabulary_is_a_base_and_a_start(judge, tmp_path):
    merge(JudgeConfig(model=str(judge)), tmp_path / "merged")
    found = first_scores(recipe(init_from=str(tmp_path / "merged")))
    assert found == pytest.approx(scores(judge), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"lora_r": 8}, r"the judge has --lora-r 4 \(this run: 8\)"),
        ({"lora_alpha": 16}, r"--lora-alpha 8 \(this run: 16\)"),
        ({"head_dim": 16, "lora_r": 2}, r"--head-dim 32 \(this run: 16\), --lora-r 4 \(this run: 2\)"),
        ({"head_type": "linear"}, r"--head-type mlp \(this run: linear\)\nLeave --head-type out"),
        ({"resp_repr_mode": "first"}, r"--resp-repr-mode last \(this run: first\)"),
        ({"lora_targets": "q_proj,v_proj"}, r"--lora-targets \S*down_proj\S* \(this run: q_proj,v_proj\)"),
        ({"separator_token": "<|reserved_0|>"}, "has the separator"),
    ],
)
def test_an_option_that_contradicts_the_judge_is_refused_with_both_values(judge, options, problem):
    with pytest.raises(UsageError, match=problem):
        first_scores(recipe(init_from=str(judge), **options))


ALIKE: dict[str, dict[str, Any]] = {
    "wide": {"lora_r": 6, "lora_alpha": 3, "lora_dropout": 0.25, "head_dim": 12, "head_activation": "gelu"},
    "linear": {
        "head_type": "linear",
        "resp_repr_mode": "first_last_concat",
        "lora_targets": "down_proj,q_proj",
        "max_frames": 5,
        "training_text_bos": False,
        "scoring_text_bos": False,
    },
}


@pytest.mark.parametrize("options", ALIKE.values(), ids=ALIKE)
def test_what_is_not_given_is_as_in_the_judge(llama, data, tmp_path, options):
    first = run(data, tmp_path / "first", base=str(llama), head_std=0.5, learning_rate=1e-2, **options)
    config = TrainConfig(device="cpu", quant="none", init_from=str(first))
    assert first_scores(config) == pytest.approx(scores(first), abs=1e-6)
    prepared = prepare([data], tmp_path / "second", config)
    wanted = asdict(recipe(**options).design)
    del wanted["tie_lora"]  # no layer of it is fused
    if "head_type" in options:  # a linear head has no layer in the middle
        del wanted["head_dim"], wanted["head_activation"]
    assert asdict(prepared.config.design).items() >= wanted.items()
    assert prepared.from_judge == wanted | {"separator_token": "<|resp_sep|>"}


def test_what_may_differ_from_the_judge_is_as_it_was_given(judge, data, tmp_path):
    config = TrainConfig(
        device="cpu", init_from=str(judge), lora_dropout=0.5, max_frames=3, training_text_bos=False
    )
    prepared = prepare([data], tmp_path / "second", config)
    design = prepared.config.design
    assert (design.lora_dropout, design.max_frames, design.training_text_bos) == (0.5, 3, False)
    assert not {"lora_dropout", "max_frames", "training_text_bos"} & prepared.from_judge.keys()


def test_what_is_fused_in_the_judge_is_tied_and_else_it_is_not(data, tmp_path):
    official = make_official_adapter(tmp_path / "official")
    config = TrainConfig(device="cpu", quant="none", init_from=str(official))
    assert first_scores(config) == pytest.approx(scores(official), abs=1e-5)
    for judge, tied in ((str(official), True), ("demo", False)):
        prepared = prepare([data], tmp_path / "out", TrainConfig(device="cpu", init_from=judge))
        assert prepared.from_judge["tie_lora"] is prepared.config.design.tie_lora is tied
        assert prepared.config.design.lora_targets == "all"


def test_the_demo_is_gone_on_from_without_a_word_about_its_sizes(data, tmp_path, yoj: Run):
    out = tmp_path / "out"
    code, _, err = yoj("train", data, "-o", out, "--init-from", "demo", "--epochs", 1, "--device", "cpu")
    assert code == 0, err
    told = " ".join(err.split())
    assert "goes on from demo; taken from it: lora_r 16, lora_alpha 32, lora_dropout 0.05" in told
    assert "head_dim 128" in told
    card = (out / "README.md").read_text()
    assert "It went on from `demo`; taken from it: `lora_r` `16`, `lora_alpha` `32`" in card
    assert "lora_r = 16\n" in (out / "recipe.toml").read_text()
    code, _, err = yoj("train", "--config", out / "recipe.toml", "-o", tmp_path / "again")
    assert code == 0, err
    for name in ("adapter_model.safetensors", "value_head.safetensors", "recipe.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_a_named_recipe_leaves_to_the_judge_what_it_sets_by_default(data, tmp_path, yoj: Run):
    options = ["--init-from", "demo", "--recipe", "official", "--dry-run", "--device", "cpu"]
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *options)
    assert code == 0, err
    told = " ".join(err.split())
    assert "recipe official: base demo, quant none" in told
    assert "lora_r 16, lora_alpha 32" in told
    assert (
        "training_text_bos no" in told.partition("goes on from")[0]
    )  # which is no default, and given by the recipe
    assert "training_text_bos" not in told.partition("taken from it:")[2].partition("about")[0]


def test_bases_that_do_not_fit_are_refused(judge, tmp_path):
    # Layers of the same names and sizes.
    other = make_base(tmp_path / "gemma", "gemma")
    with pytest.raises(CheckpointError, match="trained on a llama, and this base is a gemma3_text"):
        first_scores(recipe(init_from=str(judge), base=str(other)))
    with pytest.raises(CheckpointError, match="trained on a llama, and this base is a molmo2"):
        load(judge, base=str(MOLMO))


def test_an_init_revision_without_a_judge_is_an_error():
    with pytest.raises(UsageError, match="no --init-from"):
        resolve_base(recipe(init_revision="main"))


@pytest.mark.parametrize("option", ["--base", "--init-from"])
def test_a_model_that_is_missing_advises_the_option_that_named_it(data, tmp_path, yoj: Run, option):
    code, _, err = yoj("train", data, "-o", tmp_path / "out", option, "no/such")
    assert code == 3
    assert f"give a folder, or try `{option} demo`." in err


def test_a_missing_base_of_a_judge_is_to_be_found_and_no_other_advised(judge, data, tmp_path, yoj: Run):
    config = json.loads((judge / "reward_model_config.json").read_text())
    (judge / "reward_model_config.json").write_text(json.dumps(config | {"base_model": "no/such"}))
    code, _, err = yoj("train", data, "-o", tmp_path / "out", "--init-from", judge)
    assert code == 3
    assert "once, or say where it is (--base FOLDER)." in err


def test_what_does_not_fit_is_said_before_anything_is_written(judge, data, tmp_path, yoj: Run):
    options = ["--init-from", judge, "-o", tmp_path / "out", "--device", "cpu", "--head-dim", "16"]
    code, _, err = yoj("train", data, *options)
    assert code == 2
    assert "--head-dim 32 (this run: 16)" in err
    assert "Leave --head-dim out" in err
    assert not (tmp_path / "out").exists()


def test_a_rank_that_only_the_configuration_has_is_refused_before_memory_is_taken_for_it(
    judge, data, tmp_path, yoj: Run, monkeypatch: pytest.MonkeyPatch
):
    def add_adapter(*_: object, **__: object) -> None:
        raise AssertionError("an adapter is allocated")

    monkeypatch.setattr("yoj_cli.train.model.add_adapter", add_adapter)
    path = judge / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 400_000}))
    code, _, err = yoj("train", data, "-o", tmp_path / "out", "--init-from", judge, "--device", "cpu")
    assert code == 3
    assert "(400000, " in err
    assert "in the file and" in err
