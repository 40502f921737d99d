"""Steps of the released trainer, repeated here: scores, losses, gradients and weights (see the README of the data)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from tests.conftest import PARITY
from tests.mixed_groups import make_mixed, sizes
from yoj_cli.config.recipes import OFFICIAL
from yoj_cli.config.train import TrainConfig
from yoj_cli.model.adapter import saved_adapter, take_saved
from yoj_cli.train.model import build_sequences, load_model
from yoj_cli.train.prepare import prepare
from yoj_cli.train.trainer import GroupTrainer, build_arguments

THEIRS = PARITY / "train"
RELATIVE = 1e-5
LAST_BIAS = "value_head.2.bias"
ROOT = Path(__file__).parent.parent
RECIPE: dict[str, Any] = {"base": str(PARITY / "checkpoint"), "device": "cpu", "quant": "none", "lora_r": 4}
RECIPE |= {"lora_dropout": 0.0, "head_dim": 16, "batch_size": 4, "epochs": 1, "shuffle_responses": False}


class GradientsKept(TrainerCallback):
    """Keeps the gradients as the optimizer gets them, which is after clipping."""

    def on_pre_optimizer_step(self, args, state, control, *, model, **_) -> None:
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        weights = [parameter.data for parameter in learning]
        for parameter in learning:
            parameter.data = parameter.grad
        self.found = {name: each.detach().clone() for name, each in by_their_names(model).items()}
        for parameter, weight in zip(learning, weights, strict=True):
            parameter.data = weight


@pytest.fixture(params=["as_is", "bos"])
def step(request, write_lines, tmp_path):
    """The golden file's part, and a trainer of ours that starts where theirs did."""
    golden = json.loads((THEIRS / "golden.json").read_text(encoding="utf-8"))
    config = TrainConfig(**RECIPE, training_text_bos=request.param == "bos")
    data, gradients = write_lines(*golden["groups"]), GradientsKept()
    trainer = make_trainer(config, data, tmp_path / "out", gradients, media_root=ROOT)
    return request.param, golden[request.param], trainer, gradients


def make_trainer(
    config: TrainConfig, data: Path, out: Path, *callbacks: TrainerCallback, media_root: Path | None = None
) -> GroupTrainer:
    """A trainer of ours whose adapter and head start where theirs did."""
    run = prepare([data], out, config, media_root=media_root)
    model = load_model(config, run.base)
    take_saved(model.backbone, load_file(THEIRS / "adapter_before.safetensors"), folder=THEIRS)
    model.head.load_weights(load_file(THEIRS / "value_head_before.safetensors"), where="")
    builder = build_sequences(config, model.backbone)
    return GroupTrainer(
        model,
        build_arguments(config, run.out, torch.float32, is_cpu=True),
        config,
        builder=builder,
        held_out_builder=builder,
        groups=run.train_report.groups,
        held_out=[],
        media=run.media,
        callbacks=list(callbacks),
    )


def by_their_names(model) -> dict[str, torch.Tensor]:
    """Weights of adapter and head under the names of the golden files."""
    adapter = saved_adapter(model.backbone, model.adapter)[1]
    found = {f"base_model.{key.replace('.weight', '.default.weight')}": each for key, each in adapter.items()}
    return found | {f"value_head.{name}": weight for name, weight in model.head.layers.named_parameters()}


def load(what: str, name: str) -> dict[str, torch.Tensor]:
    return load_file(THEIRS / f"{what}_{name}.safetensors")


def distances(own: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> dict[str, float]:
    """How far each tensor is from theirs, as a share of theirs."""
    assert own.keys() == theirs.keys()
    return {
        name: float((own[name] - each).norm() / each.norm())
        for name, each in theirs.items()
        if name != LAST_BIAS
    }


def test_a_step_is_the_released_trainers_to_1e_5(step):
    name, golden, trainer, gradients = step
    model = trainer.model
    for index, wanted in enumerate(golden["groups"]):
        example = trainer.examples[index].result()
        assert example.sequence.input_ids[0].tolist() == wanted["ids"]
        assert list(example.sequence.score_positions[0]) == wanted["ends"]
        scores = torch.cat(model([example.sequence])[0])
        size = max(map(abs, wanted["scores"]))  # a score near zero is a difference of such numbers
        assert scores.tolist() == pytest.approx(wanted["scores"], abs=RELATIVE * size)
    trainer.train()
    line = trainer.state.log_history[0]
    assert line["loss"] == pytest.approx(sum(each["loss"] for each in golden["groups"]) / 4, rel=RELATIVE)
    assert line["grad_norm"] == pytest.approx(golden["grad_norm"], rel=RELATIVE)
    # All scores move with the last bias alike: its gradient is zero but for rounding, which Adam makes a step of.
    clipped = 1 / (golden["grad_norm"] + 1e-6)  # torch's clip_grad_norm_
    theirs = {key: each * clipped for key, each in load("gradients", name).items()}
    assert max(distances(gradients.found, theirs).values()) < RELATIVE
    own = {key: each.detach() for key, each in by_their_names(model).items()}
    theirs = load("after_one_step", name)
    before = load_file(THEIRS / "value_head_before.safetensors")["2.bias"]
    for state in own, theirs:
        assert state.pop(LAST_BIAS).item() == pytest.approx(float(before), abs=1.001e-4)
    assert max(distances(own, theirs).values()) < RELATIVE


def test_five_steps_on_groups_of_every_kind_are_the_released_trainers(write_lines, tmp_path):
    golden = json.loads((THEIRS / "five_steps.json").read_text(encoding="utf-8"))
    official = {**OFFICIAL, **RECIPE, "dtype": "float32", "gradient_checkpointing": False}
    config = TrainConfig(**official | {"learning_rate": 1e-3, "max_tokens": 4096})
    data = write_lines(*make_mixed(tmp_path))
    trainer = make_trainer(config, data, tmp_path / "out", kept := WeightsKept())
    trainer.train()
    lines = [line for line in trainer.state.log_history if "grad_norm" in line]
    assert [line["loss"] for line in lines] == pytest.approx(golden["losses"], rel=RELATIVE)
    assert [line["grad_norm"] for line in lines] == pytest.approx(golden["grad_norms"], rel=RELATIVE)
    for found, wanted in zip(kept.found, golden["weights"], strict=True):
        assert found.keys() == wanted.keys()
        for name in found.keys() - {LAST_BIAS}:
            norm = wanted[name][0]
            assert found[name] == pytest.approx(wanted[name], abs=RELATIVE * norm), name


class WeightsKept(TrainerCallback):
    """Keeps the size of each weight after each step."""

    def __init__(self) -> None:
        self.found: list[dict[str, tuple[float, float]]] = []

    def on_step_end(self, args, state, control, *, model, **_) -> None:
        self.found.append({name: sizes(each) for name, each in by_their_names(model).items()})
