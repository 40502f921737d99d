"""Each option of a recipe changes what it says, and the official recipe is the released training script's."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import PARITY
from tests.test_train import SMALL, groups, run, same, weights  # noqa: F401  (a fixture)
from yoj_cli import Judge
from yoj_cli.config.recipes import OFFICIAL, against_official
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import InputError, UsageError
from yoj_cli.groups import Group
from yoj_cli.train.data import drop_empty_responses, read_ranked
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.model import build_sequences, fresh_head, load_model
from yoj_cli.train.optimizer import build_optimizer, build_scheduler
from yoj_cli.train.order import BalancedOrder
from yoj_cli.train.prepare import prepare
from yoj_cli.train.starting_point import find_base
from yoj_cli.train.trainer import GroupTrainer, build_arguments


def factors(n_steps: int, **options: object) -> list[float]:
    config = TrainConfig(learning_rate=1.0, **options)
    optimizer = build_optimizer(torch.nn.ModuleDict({"head": torch.nn.Linear(1, 1)}), config)
    scheduler = build_scheduler(optimizer, config, n_steps)
    found = []
    for _ in range(n_steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


def test_the_learning_rate_falls_linearly_from_the_first_step():
    assert factors(4) == [1, 0.75, 0.5, 0.25]


def test_it_rises_over_whole_steps_of_the_warm_up():
    assert factors(5, warmup_ratio=0.5) == pytest.approx([0, 0.5, 1, 2 / 3, 1 / 3])  # 2.5 steps are 2


def test_it_falls_as_a_cosine_or_not_at_all():
    assert factors(4, scheduler="cosine") == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    assert factors(4, scheduler="constant", warmup_ratio=0.25) == [0, 1, 1, 1]


def test_the_head_has_its_own_learning_rate_and_all_weights_decay():
    model = torch.nn.ModuleDict({"decoder": torch.nn.Linear(1, 1), "head": torch.nn.Linear(1, 1)})
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(model, TrainConfig(learning_rate=0.1, head_learning_rate=0.5, weight_decay=0.5)).step()
    assert (
        model["decoder"].weight.item() == model["decoder"].bias.item() == pytest.approx(2 * (1 - 0.1 * 0.5))
    )
    assert model["head"].weight.item() == model["head"].bias.item() == pytest.approx(2 * (1 - 0.5 * 0.5))


def test_the_head_starts_as_the_released_one():
    torch.manual_seed(0)
    layers = fresh_head(TrainConfig(), 256).layers
    assert float(layers[0].weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert float(layers[2].weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert not layers[0].bias.any()
    assert not layers[2].bias.any()
    wide = fresh_head(TrainConfig(head_std=0.5), 256).layers
    assert float(wide[0].weight.detach().std()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    "options",
    [{"head_type": "linear"}, {"head_activation": "tanh", "resp_repr_mode": "first_last_concat"}],
    ids=str,
)
def test_a_head_of_another_kind_is_trained_and_scores(groups, tmp_path, options):  # noqa: F811
    run(groups, tmp_path / "out", epochs=1, limit=2, quant="none", **options)
    saved = json.loads((tmp_path / "out" / "reward_model_config.json").read_text())
    assert saved["value_head_type"] == options.get("head_type", "mlp")
    assert saved["value_head_activation"] == options.get("head_activation", "silu")
    judge = Judge.load(str(tmp_path / "out"), device="cpu", quant="none")
    assert len(set(judge.score(prompt="p", responses=["a", "b c"]).scores)) == 2


def test_text_is_scored_with_or_without_bos_as_the_checkpoint_says(groups, tmp_path):  # noqa: F811
    found = {}
    for name, options in (("ours", {}), ("none", {"training_text_bos": False, "scoring_text_bos": False})):
        run(groups, tmp_path / name, epochs=1, limit=2, quant="none", **options)
        saved = json.loads((tmp_path / name / "reward_model_config.json").read_text())
        assert saved["training_text_bos"] == saved["scoring_text_bos"] == (name == "ours")
        judge = Judge.load(str(tmp_path / name), device="cpu", quant="none")
        found[name] = judge.score(prompt="p", responses=["a", "b c"]).n_tokens
        assert judge.description.get("text_bos", True) == (name == "ours")
    assert found["ours"] == found["none"] + 1


def trainer_of(data, out, **options) -> GroupTrainer:
    """A trainer with nothing to train, for what it says about groups and their order."""
    config = TrainConfig(**SMALL | options)
    checked = prepare([data], out, config)
    arguments = build_arguments(config, out, torch.float32, is_cpu=True)
    model = load_model(config, find_base(config))
    builder = build_sequences(config, model.backbone)
    return GroupTrainer(
        model,
        arguments,
        config,
        builder=builder,
        held_out_builder=builder,
        groups=checked.train_report.groups,
        held_out=[],
        media=checked.media,
        callbacks=[],
    )


def test_the_balanced_order_is_the_released_trainers():
    """Three epochs of their ModalityBatchSampler, batch size 1, over twelve groups of these kinds."""
    kinds = {"t": (), "i": ("image",), "v": ("video",)}
    given = [
        SimpleNamespace(media=[SimpleNamespace(kind=kind) for kind in kinds[letter]])
        for letter in "tiitvitivtii"
    ]
    orders = [list(BalancedOrder(given, 0, lambda epoch=epoch: epoch)) for epoch in range(3)]
    assert orders[0] == [8, 4, 0, 9, 3, 7, 5, 6, 10, 2, 11, 1]
    assert orders[1] == [4, 3, 8, 11, 6, 5, 1, 0, 9, 2, 7, 10]
    assert orders[2] == [10, 7, 3, 9, 11, 5, 2, 4, 1, 6, 0, 8]
    assert list(BalancedOrder(given, 1, lambda: 0)) != orders[0]


def test_groups_are_met_in_the_order_asked_for(groups, tmp_path):  # noqa: F811
    orders = {}
    for order in ("file", "balanced", "shuffled"):
        trainer = trainer_of(groups, tmp_path / order, group_order=order)
        orders[order] = list(trainer._get_train_sampler())
        assert sorted(orders[order]) == list(range(8))
    assert orders["file"] == list(range(8))
    assert orders["balanced"] != orders["file"]


def test_the_seed_of_the_order_leaves_the_first_weights_as_they_are(groups, tmp_path):  # noqa: F811
    found = {}
    for name, options in {"one": {}, "two": {"order_seed": 7}, "three": {"seed": 0, "order_seed": 0}}.items():
        run(groups, tmp_path / name, epochs=1, learning_rate=1e-12, save_every=1, **options)
        found[name] = read_metrics(tmp_path / name / "metrics.jsonl")[0]["loss"]
    assert found["one"] == found["three"] != found["two"]
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(first[key], second[key], atol=1e-9) for key in first)


def test_responses_without_a_text_are_left_out_when_asked_and_counted(write_lines, tmp_path, yoj):
    record = {"prompt": "p", "responses": ["a", " \n", "b", ""], "rankings": [2, 1, 3, 4]}
    group = next(iter(read_ranked([write_lines(record)])))
    assert isinstance(group, Group)
    kept = drop_empty_responses(group)
    assert (kept.responses, kept.rankings) == (("a", "b"), (2.0, 3.0))
    base = ("--base", PARITY / "checkpoint", "--device", "cpu", "--dry-run", "-o", tmp_path / "out")
    data = write_lines(record, record)
    _, _, err = yoj("train", data, *base, "--drop-empty-responses")
    assert "2 groups, 4 responses" in err
    assert "left out, responses without a text: 4" in err
    assert "2 groups, 8 responses" in yoj("train", data, *base)[2]


RECORD = {"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2]}


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ([RECORD, RECORD], ["[0]", "[1]"]),
        ({"pair_data": [RECORD], "note": "x", "ranking_data": [RECORD]}, ["pair_data[0]", "ranking_data[0]"]),
        (RECORD, ["1"]),
    ],
    ids=["list", "lists", "line"],
)
def test_a_json_document_is_read_as_lines_are(tmp_path, content, places):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(content, indent=2 if isinstance(content, list) else None))
    found = list(read_ranked([path]))
    assert [item.where for item in found] == [f"{path}:{place}" for place in places]
    assert all(item.responses == ("a", "b") for item in found)


def test_json_lines_may_be_named_json_and_bad_records_are_named(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(f"{json.dumps(RECORD)}\n{json.dumps(RECORD)}\n")
    assert [item.where for item in read_ranked([path])] == [f"{path}:1", f"{path}:2"]
    path.write_text(json.dumps([RECORD, 3, {"prompt": "p"}]))
    _, number, bad = read_ranked([path])
    assert str(number.error).startswith(f"{path}:[1]: expected a JSON object")
    assert str(bad.error).startswith(f"{path}:[2]: ")
    for text, message in (
        ("[1,", "is not JSON"),
        ('{"a": 1}', "expected a list of groups"),
        ("7", "the number 7"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            list(read_ranked([path]))


def test_a_run_goes_on_from_a_state_of_another_folder(groups, tmp_path):  # noqa: F811
    options = {"epochs": 2, "save_every": 1, "keep": 9, "lora_dropout": 0.1, "quant": "none"}
    run(groups, tmp_path / "whole", **options)
    state = tmp_path / "whole" / "checkpoint-2"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").rglob("*")}
    run(groups, tmp_path / "again", resume=state, **options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "again"))
    assert [line["step"] for line in read_metrics(tmp_path / "again" / "metrics.jsonl")] == [1, 2, 3, 4]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").rglob("*")} == before


def test_a_state_that_is_none_or_beside_a_later_one_is_refused(groups, tmp_path):  # noqa: F811
    run(groups, tmp_path / "whole", epochs=2, save_every=1, keep=9, quant="none")
    (tmp_path / "whole" / "reward_model_config.json").unlink()
    for out, state, message in (
        (tmp_path / "new", tmp_path, "no saved state"),
        (tmp_path / "whole", tmp_path / "whole" / "checkpoint-2", "holds another state"),
    ):
        with pytest.raises(UsageError, match=message):
            run(groups, out, resume=state, epochs=2, quant="none")


def test_project_and_name_reach_weights_and_biases(groups, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("WANDB_PROJECT", "another")
    run(groups, tmp_path / "out", epochs=1, limit=2, wandb_project="mine")
    assert os.environ["WANDB_PROJECT"] == "mine"
    config = TrainConfig(wandb_run_name="first")
    assert build_arguments(config, tmp_path, torch.float32, is_cpu=True).run_name == "first"
    assert build_arguments(TrainConfig(), tmp_path, torch.float32, is_cpu=True).run_name == tmp_path.name


def test_the_official_recipe_is_what_the_released_script_sets():
    config = TrainConfig(**OFFICIAL)
    assert against_official(config) == {}
    assert (config.design.lora_r, config.design.lora_alpha) == (128, 16)
    assert (config.batch_size, config.quant) == (64, "none")
    assert against_official(TrainConfig())["quant"] == ("4bit", "none")
    own_rate = against_official(TrainConfig(**OFFICIAL, head_learning_rate=1e-3))
    assert own_rate == {"head_learning_rate": (1e-3, None)}
    assert against_official(TrainConfig(**OFFICIAL | {"max_tokens": 4096}))["max_tokens"] == (4096, 24576)


def test_a_named_recipe_is_printed_and_what_is_given_goes_before(yoj, groups, tmp_path):  # noqa: F811
    (tmp_path / "more.toml").write_text("lora_r = 8\nlora_alpha = 4\n")
    arguments = (
        "train",
        groups,
        "-o",
        tmp_path / "out",
        "--base",
        PARITY / "checkpoint",
        "--max-tokens",
        4096,
    )
    arguments += ("--device", "cpu", "--dry-run", "--lora-alpha", 2)
    for order in (
        ("--recipe", "official", "--config", tmp_path / "more.toml"),
        ("--config", tmp_path / "more.toml", "--recipe", "official"),
    ):
        code, _, err = yoj(*arguments, *order)
        err = " ".join(err.split())  # it is wrapped
        assert code == 0
        assert "recipe official: " in err
        assert "quant none, dtype bfloat16" in err
        assert "The paper's text says LoRA r 64; the released script sets 128." in err
        assert "lora_r 8 (there 128), lora_alpha 2 (there 16)" in err
    assert yoj(*arguments, "--recipe", "mine")[0] == 2
    assert "quant 4bit (there none)" in " ".join(yoj(*arguments)[2].split())


def test_the_card_says_what_is_otherwise_than_in_the_released_script(groups, tmp_path):  # noqa: F811
    run(groups, tmp_path / "out", epochs=1, limit=2)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`quant` is `4bit`, there `none`" in card
    assert "`training_text_bos` is `yes`, there `no`" in card
    assert "`max_vision_tokens` is `unset`, there `16384`" in card
