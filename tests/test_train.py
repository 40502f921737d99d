"""Training: the loss by hand, what learns and what stays, and a checkpoint that scores as it was trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import PARITY
from yoj_cli import Judge
from yoj_cli.config import TrainConfig
from yoj_cli.errors import InputError, UsageError
from yoj_cli.inputs.media import MediaOptions
from yoj_cli.judge.adapter import add_adapter
from yoj_cli.train import n_way_cross_entropy, read_ranked, train

BASE = str(PARITY / "checkpoint")
SMALL = {"base": BASE, "device": "cpu", "lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "head_dim": 32}


def test_the_loss_of_equal_scores_is_log_n():
    loss = n_way_cross_entropy(torch.zeros(5), torch.tensor([True, False, False, False, False]))
    assert loss.item() == pytest.approx(math.log(5))


def test_two_responses_give_bradley_terry():
    loss = n_way_cross_entropy(torch.tensor([1.5, -0.5]), torch.tensor([True, False]))
    assert loss.item() == pytest.approx(-math.log(1 / (1 + math.exp(-2.0))))


def test_tied_best_responses_share_the_target():
    scores = torch.tensor([1.0, 2.0, 0.0])
    total = math.log(math.e + math.e**2 + 1)
    loss = n_way_cross_entropy(scores, torch.tensor([True, True, False]))
    assert loss.item() == pytest.approx(((total - 1) + (total - 2)) / 2)


def test_a_group_without_a_best_response_has_no_loss():
    with pytest.raises(ValueError, match="no response is marked best"):
        n_way_cross_entropy(torch.zeros(2), torch.tensor([False, False]))


def test_only_adapter_and_head_learn(judges):
    from yoj_cli.config import JudgeConfig
    from yoj_cli.judge.backbone import load_backbone

    config = JudgeConfig(model=BASE, device="cpu")
    backbone = load_backbone(
        PARITY / "checkpoint", config, torch.device("cpu"), processor_folder=PARITY / "checkpoint"
    )
    add_adapter(backbone, r=4, alpha=8, dropout=0.1)
    learning = [name for name, parameter in backbone.model.named_parameters() if parameter.requires_grad]
    assert learning
    assert all(".lora_" in name and name.startswith("language_model.") for name in learning)


@pytest.fixture
def groups(write_lines, tmp_path):
    """Eight groups, with pictures, whose best response is told from the others by nothing but memory."""
    rng = np.random.default_rng(0)
    records = []
    for index in range(8):
        Image.fromarray(rng.integers(0, 255, (56, 56, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
        responses = [
            " ".join(rng.choice(["red", "dog", "sky", "two", "runs"], 4)) + f" {n}" for n in range(3)
        ]
        rankings = rng.permutation(3) + 1
        records.append(
            {
                "prompt": "p",
                "responses": responses,
                "rankings": rankings.tolist(),
                **({"image": f"{index}.png"} if index % 2 else {}),
            }
        )
    return write_lines(*records)


@pytest.mark.slow
def test_eight_groups_are_learnt_by_heart_through_the_4_bit_path(groups, tmp_path):
    steps = []
    config = TrainConfig(**SMALL, epochs=40, batch_size=4, learning_rate=1e-2, shuffle_responses=False)
    train([groups], tmp_path / "out", config, report=steps.append)
    assert len(steps) == config.epochs * 2
    assert steps[-1].accuracy == 1
    assert steps[-1].loss < 0.5
    judge = Judge.load(str(tmp_path / "out"), device="cpu")
    options = MediaOptions(root=tmp_path)
    for verdict in judge.score_groups((group for group, _ in read_ranked([groups], None)), media=options):
        assert verdict.group.rankings[verdict.best] == 1


def test_training_twice_gives_the_same_weights(groups, tmp_path):
    found = []
    for name in ("one", "two"):
        config = TrainConfig(**SMALL | {"lora_dropout": 0.1}, epochs=1, batch_size=4, seed=3)
        train([groups], tmp_path / name, config, report=lambda progress: None)
        found.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_the_separators_row_stays_as_it_was(groups, tmp_path):
    train([groups], tmp_path / "out", TrainConfig(**SMALL, epochs=1), report=lambda progress: None)
    before, after = Judge.load(BASE, device="cpu"), Judge.load(str(tmp_path / "out"), device="cpu")
    for judge in (before, after):
        judge.row = judge.backbone.model.get_input_embeddings().weight[
            judge.backbone.tokenizer.convert_tokens_to_ids("<|resp_sep|>")
        ]
    assert torch.equal(before.row, after.row)


def test_a_base_inside_the_output_folder_is_named_relatively(groups, tmp_path):
    import json
    import shutil

    shutil.copytree(BASE, tmp_path / "judge" / "backbone")
    config = TrainConfig(**SMALL | {"base": str(tmp_path / "judge" / "backbone")}, epochs=1)
    train([groups], tmp_path / "judge", config, report=lambda progress: None)
    assert (
        json.loads((tmp_path / "judge" / "reward_model_config.json").read_text())["base_model"] == "backbone"
    )
    moved = (tmp_path / "judge").rename(tmp_path / "moved")
    assert Judge.load(str(moved), device="cpu").score(prompt="p", responses=["a", "b"]).scores


def test_an_existing_checkpoint_is_not_written_over(groups, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "reward_model_config.json").write_text("{}")
    with pytest.raises(UsageError, match="exists already"):
        train([groups], tmp_path / "out", TrainConfig(**SMALL), report=lambda progress: None)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "p", "responses": ["a", "b"]}, "no 'rankings'"),
        ({"prompt": "p", "responses": ["a", "b"], "rankings": [1, 1]}, "share one rank"),
    ],
)
def test_a_line_that_teaches_nothing_is_an_error_with_its_place(write_lines, record, message):
    path = write_lines({"prompt": "p", "chosen": "a", "rejected": "b"}, record)
    with pytest.raises(InputError, match=f"data.jsonl:2: .*{message}"):
        read_ranked([path], None)


def test_the_command_trains_and_the_result_scores(yoj, groups, tmp_path):
    options = ["--base", BASE, "--device", "cpu", "--lora-r", 4, "--head-dim", 16, "--epochs", 1]
    code, out, err = yoj("train", groups, "-o", tmp_path / "out", *options)
    assert (code, out) == (0, "")
    assert "step 1/1" in err
    code, out, _ = yoj("score", groups, "-m", tmp_path / "out", "--device", "cpu")
    assert code == 0
    assert out.count("\n") == 8
