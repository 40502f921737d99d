"""The GPU path without a GPU: on a pretended device scores are the same, and it is waited for once a pass."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.conftest import PARITY
from tests.pretend_device import DEVICE, Far, moved, pretended_device
from yoj_cli.config.train import TrainConfig
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import parse
from yoj_cli.scoring.forward import batch_scores, branch_scores
from yoj_cli.scoring.vision_cache import VisionFeatureCache
from yoj_cli.train.losses import n_way_cross_entropy
from yoj_cli.train.model import RewardModel

TOLERANCE = 1e-5
# Waits of transformers' own in one pass, at most: for values of position ids and masks, and for grids in the vision
# tower; then what a training step adds: checks, the scores, the way back. Ours are none.
WAITS = {
    "molmo2": {"text": 2, "new": 6, "known": 3, "training": 2},
    "qwen3_vl": {"text": 0, "new": 20, "known": 5, "training": 8},
}
RESPONSES = ["a small cat", "no", "two cats and a dog in the rain", "?"]


def test_a_mix_of_devices_is_refused_and_waits_are_counted():
    with pretended_device() as waits, torch.no_grad():
        far = torch.arange(6.0).to(DEVICE)
        assert isinstance(far, Far)
        assert isinstance(torch.tensor([1, 2], device=DEVICE), Far)
        assert waits == {("tests", "copy to the device"): 2}
        with pytest.raises(RuntimeError, match="tensors on the CPU"):
            far + torch.ones(6)
        waits.clear()
        assert (far * 2).sum().item() == 30
        assert far[far > 3].tolist() == [4, 5]
        assert float(far.max()) == 5
        assert bool((far == far).all())
    assert waits == {
        ("tests", "read a value"): 3,
        ("tests", "index by a mask"): 1,
        ("tests", "copy to the CPU"): 1,
    }


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 60, 90, 3), dtype=np.uint8)
    for index in range(2):
        Image.fromarray(pixels[index]).save(folder / f"{index}.png")
    return folder


@pytest.fixture(params=["molmo2", "qwen3_vl", "adapter"])
def checkpoint(request):
    if request.param == "molmo2":
        return PARITY / "checkpoint"
    return request.getfixturevalue("qwen_checkpoint" if request.param == "qwen3_vl" else "adapter_checkpoint")


@pytest.fixture(params=["text", "picture", "clip"])
def media(request, picture):
    return {
        "text": {},
        "picture": {"images": [str(picture / "0.png")]},
        "clip": {"videos": [{"frames": str(picture)}]},
    }[request.param]


def build_sequences(judge, *groups):
    return [judge.prepare(parse(group), MediaOptions())[1] for group in groups]


def far_from(judge):
    """The judge's backbone and head on the pretended device."""
    backbone = dataclasses.replace(judge.backbone, model=moved(judge.backbone.model), device=DEVICE)
    return backbone, moved(judge.head)


def values(branches):
    """Scores of a packed sequence, in one wait."""
    return torch.cat(branches).tolist()


def check(waits, most):
    assert not [kind for asker, kind in waits if asker == "yoj_cli"]
    assert sum(waits.values()) <= most, dict(waits)


@pytest.mark.parametrize("max_tokens_per_forward", [8192, 1], ids=["one pass", "by chunks"])
@pytest.mark.parametrize(
    "options", [{}, {"mode": "single"}, {"orders": 2}], ids=["multi", "single", "orders"]
)
def test_scores_are_those_of_the_cpu_and_nothing_of_ours_waits(
    judges, checkpoint, media, options, max_tokens_per_forward
):
    judge = judges(checkpoint, **options)
    (sequence,) = build_sequences(judge, {"prompt": "Which?", "responses": RESPONSES, **media})
    (backbone, head), vision_cache = far_from(judge), VisionFeatureCache()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        wanted = values(
            branch_scores(judge.backbone, judge.head, sequence, max_tokens_per_forward=max_tokens_per_forward)
        )
    for kind in ("new", "known"):
        with torch.no_grad(), pretended_device() as waits:
            scores = branch_scores(
                backbone,
                head,
                sequence,
                max_tokens_per_forward=max_tokens_per_forward,
                vision_cache=vision_cache,
            )
            check(waits, WAITS[backbone.family.name][kind if media else "text"])
            found = values(scores)
        assert found == pytest.approx(wanted, abs=TOLERANCE)
    assert vision_cache.n_encoded == bool(media)


def test_several_groups_in_a_pass_wait_no_more_than_one(judges, checkpoint, picture):
    judge = judges(checkpoint, mode="single")
    shown = [{"images": [str(picture / f"{index % 2}.png")]} for index in range(5)]
    groups = [{"prompt": f"p{i}", "responses": RESPONSES[: 1 + i % 3], **shown[i]} for i in range(5)]
    sequences = build_sequences(judge, *groups)
    (backbone, head), vision_cache = far_from(judge), VisionFeatureCache()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        wanted = [values(scores) for scores in batch_scores(judge.backbone, judge.head, sequences)]
    with torch.no_grad(), pretended_device() as waits:
        scores = batch_scores(backbone, head, sequences, vision_cache=vision_cache)
        check(waits, WAITS[backbone.family.name]["new"])
        found = [values(each) for each in scores]
    assert vision_cache.n_encoded == 2
    for mine, other in zip(found, wanted, strict=True):
        assert mine == pytest.approx(other, abs=TOLERANCE)


@pytest.mark.parametrize("mode", ["multi", "single"])
@pytest.mark.parametrize("family", ["molmo2", "qwen3_vl"])
def test_a_training_step_gives_the_gradients_of_the_cpu(judges, qwen_checkpoint, media, mode, family):
    judge = judges(PARITY / "checkpoint" if family == "molmo2" else qwen_checkpoint, mode=mode)
    (sequence,) = build_sequences(judge, {"prompt": "Which?", "responses": RESPONSES, **media})
    backbone = dataclasses.replace(judge.backbone, model=copy.deepcopy(judge.backbone.model))
    near = RewardModel(backbone, TrainConfig(mode=mode, lora_dropout=0.0, head_dim=16))
    for name, weight in near.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.01)  # zeros at first: nothing would reach lora_A
    far = moved(near)
    far.backbone = dataclasses.replace(far.backbone, model=far.decoder, device=DEVICE)
    ranks = torch.tensor([1.0, 2.0, 3.0, 4.0])
    with sdpa_kernel(SDPBackend.MATH):
        wanted = step(near, sequence, ranks)
    with pretended_device() as waits:
        found = step(far, sequence, ranks)
    most = WAITS[family]
    check(waits, most["new" if media else "text"] + most["training"])
    assert found.item() == pytest.approx(wanted.item(), abs=TOLERANCE)
    grads = {name: weight.grad for name, weight in near.named_parameters() if weight.requires_grad}
    assert any(grad.abs().max() > 0 for grad in grads.values())
    for name, weight in far.named_parameters():
        if weight.requires_grad:
            assert torch.allclose(weight.grad.near, grads[name], atol=TOLERANCE, rtol=1e-4), name


def step(model, sequence, rankings):
    """Forward and backward, the loss on the CPU as the trainer computes it."""
    model.train()
    loss = n_way_cross_entropy(torch.cat(model([sequence])[0]).cpu(), rankings)
    loss.backward()
    return loss.detach()
