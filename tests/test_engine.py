"""The engine: groups read together score as alone, pictures are encoded once, and memory that runs out costs little."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import PARITY
from tests.test_judge import random_texts
from yoj_cli.errors import DeviceError, ModelError, OutOfMemoryError
from yoj_cli.groups import Failure
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import parse
from yoj_cli.scoring.engine import Engine, Scored
from yoj_cli.scoring.vision_cache import VisionFeatureCache

MOLMO2 = PARITY / "checkpoint"
TOLERANCE = 3e-5  # float32, and other kernels for other shapes


@pytest.fixture
def pictures(tmp_path):
    """Paths of three pictures of different sizes, and of a folder of frames."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 60, 90, 3), dtype=np.uint8)
    (tmp_path / "frames").mkdir()
    for index, size in enumerate([(90, 60), (40, 50), (60, 60)]):
        Image.fromarray(pixels[index]).resize(size).save(tmp_path / f"{index}.png")
        Image.fromarray(pixels[index]).save(tmp_path / "frames" / f"{index}.png")
    return [str(tmp_path / f"{index}.png") for index in range(3)], str(tmp_path / "frames")


@pytest.fixture(params=["molmo2", "qwen3_vl", "adapter"])
def checkpoint(request):
    if request.param == "molmo2":
        return MOLMO2
    return request.getfixturevalue("qwen_checkpoint" if request.param == "qwen3_vl" else "adapter_checkpoint")


def mixed_groups(pictures, n=18):
    """Text, one picture, two pictures and a clip, in turn; one to four responses."""
    files, frames = pictures
    shown = [
        {},
        {"images": files[:1]},
        {"images": files[1:]},
        {"videos": [{"frames": frames}]},
        {"images": files[2:]},
    ]
    return [
        parse(
            {"prompt": f"p{i}", "responses": random_texts(1 + i % 4, seed=i), **shown[i % 5]}, where=f"f:{i}"
        )
        for i in range(n)
    ]


def build_sequences(judge, groups):
    return [judge.prepare(group, MediaOptions())[1] for group in groups]


def score_all(engine, sequences):
    """What comes out for each sequence, by number."""
    found = {}
    for batch in engine.bucket(dict(enumerate(sequences))):
        found.update(zip(batch, engine.score([sequences[index] for index in batch]), strict=True))
    return found


def score(engine, sequences):
    """All scores of each sequence, in the order given."""
    found = score_all(engine, sequences)
    assert all(isinstance(outcome, Scored) for outcome in found.values())
    return [[value for branch in found[index].values for value in branch] for index in range(len(sequences))]


def engine_of(judge, max_batch_tokens=1, model=None):
    backbone = dataclasses.replace(judge.backbone, model=model) if model else judge.backbone
    return Engine(backbone, judge.head, max_batch_tokens)


@pytest.mark.parametrize("options", [{}, {"mode": "single"}, {"orders": 2}])
def test_groups_read_together_score_as_alone(judges, checkpoint, pictures, options):
    judge = judges(checkpoint, **options)
    sequences = build_sequences(judge, mixed_groups(pictures))
    together, alone = engine_of(judge, 4096), engine_of(judge)
    for found, wanted in zip(score(together, sequences), score(alone, sequences), strict=True):
        assert found == pytest.approx(wanted, abs=TOLERANCE)
    assert together.usage.n_passes <= 4
    assert alone.usage.n_passes == len(sequences)


def test_the_demo_judge_in_4_bit_scores_groups_together_as_alone(judges):
    judge = judges("demo", quant="4bit")
    groups = [parse({"prompt": f"p{i}", "responses": random_texts(1 + i % 4, seed=i)}) for i in range(40)]
    sequences = build_sequences(judge, groups)
    together, alone = score(engine_of(judge, 2048), sequences), score(engine_of(judge), sequences)
    scale = max(abs(value) for values in alone for value in values)
    for found, wanted in zip(together, alone, strict=True):
        assert found == pytest.approx(wanted, abs=TOLERANCE * max(scale, 1))


def test_a_picture_is_encoded_once_for_all_groups_that_show_it(judges, checkpoint, pictures):
    judge = judges(checkpoint)
    sequences = build_sequences(judge, mixed_groups(pictures) * 2)
    for budget in (1, 4096):
        engine = engine_of(judge, budget)
        score(engine, sequences)
        assert engine.vision_cache.n_encoded == 4  # 0.png; 1.png with 2.png; the frames; 2.png alone
        assert engine.vision_cache.n_asked == sum(bool(sequence.media_inputs) for sequence in sequences)


def test_scores_from_remembered_features_are_equal_to_the_bit(judges, checkpoint, pictures):
    judge = judges(checkpoint)
    sequences = build_sequences(judge, mixed_groups(pictures))
    engine = engine_of(judge)
    first = score(engine, sequences)
    n_encoded = engine.vision_cache.n_encoded
    assert score(engine, sequences) == first
    assert engine.vision_cache.n_encoded == n_encoded
    assert [score(engine_of(judge), [sequence])[0] for sequence in sequences] == first


def test_pixels_are_processed_once_for_groups_with_one_picture(judges, pictures):
    judge = judges(MOLMO2)
    files, _ = pictures
    one, two, other = build_sequences(
        judge,
        [
            parse({"prompt": p, "images": [files[i]], "responses": ["a"]})
            for p, i in (("p", 0), ("q", 0), ("p", 1))
        ],
    )
    assert one.media_inputs["pixel_values"] is two.media_inputs["pixel_values"]
    assert one.media_key == two.media_key != other.media_key


def test_remembered_features_stay_within_their_bytes(judges, pictures):
    judge = judges(MOLMO2)
    sequences = [
        sequence for sequence in build_sequences(judge, mixed_groups(pictures)) if sequence.media_inputs
    ]
    wanted = score(engine_of(judge), sequences)
    with torch.inference_mode():
        (encoded,) = VisionFeatureCache().encode(judge.backbone, sequences[:1])
    engine = engine_of(judge)
    engine.vision_cache.max_bytes = encoded["image"].n_bytes
    assert score(engine, sequences) == wanted
    assert engine.vision_cache.n_bytes <= engine.vision_cache.max_bytes
    assert engine.vision_cache.n_encoded > 4  # some had to go, and came again
    engine.vision_cache.clear()
    assert engine.vision_cache.n_bytes == 0


class Struck(torch.nn.Module):
    """A backbone that does something to every pass in which a token stands."""

    def __init__(self, model, token, strike):
        super().__init__()
        self.model, self.token, self.strike = model, token, strike
        self.config = model.config

    def forward(self, input_ids, **arguments):
        found = self.model(input_ids=input_ids, **arguments)
        struck = (input_ids == self.token).any(1)
        if struck.any():
            self.strike(found.last_hidden_state, struck)
        return found


def stream_with_a_struck_group(judges, monkeypatch, strike):
    """Eight groups read together, of which the third holds the token; and the judge."""
    judge = judges(MOLMO2, max_batch_tokens=4093)
    (token,) = judge.backbone.tokenizer.encode("%", add_special_tokens=False)
    struck = Struck(judge.backbone.model, token, strike)
    monkeypatch.setattr(judge, "engine", engine_of(judge, 4093, struck))
    responses = [["a" * (9 - i), "%" if i == 2 else "b"] for i in range(8)]
    groups = [parse({"prompt": "p", "responses": both}, where=f"f:{i}") for i, both in enumerate(responses)]
    return judge, groups


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("strike", "kind", "what"),
    [
        (lambda states, rows: states.__setitem__(rows, torch.nan), ModelError, "a score that is no number"),
        (
            lambda *_: raise_(IndexError("index out of range in self")),
            ModelError,
            "cannot read the group: IndexError: index out",
        ),
        (lambda *_: raise_(MemoryError()), OutOfMemoryError, "out of memory on a group"),
    ],
)
def test_what_goes_wrong_in_a_pass_costs_the_group_that_brings_it(judges, monkeypatch, strike, kind, what):
    judge, groups = stream_with_a_struck_group(judges, monkeypatch, strike)
    found = list(judge.score_groups(groups))
    assert [isinstance(item, Failure) for item in found] == [i == 2 for i in range(8)]
    assert type(found[2].error) is kind
    assert found[2].error.where.startswith("f:2")
    assert what in found[2].error.what
    with pytest.raises(kind, match=r"^f:2: "):
        judge.score_group(groups[2])


def test_a_device_that_stops_working_ends_the_stream_after_the_groups_before(judges, monkeypatch):
    lost = RuntimeError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`")
    judge, groups = stream_with_a_struck_group(judges, monkeypatch, lambda *_: raise_(lost))
    judge.engine.limits.max_batch_tokens = 1
    found = []
    with pytest.raises(
        DeviceError, match="the GPU stopped working: CUDA error: device-side assert triggered"
    ):
        found.extend(judge.score_groups(groups))
    assert [verdict.group.where for verdict in found] == ["f:0", "f:1"]


def test_what_a_batch_scored_before_the_device_was_lost_comes_first(judges, monkeypatch):
    def strike(states, rows):
        raise IndexError if len(rows) > 4 else RuntimeError("CUDA error: unspecified launch failure")

    judge, groups = stream_with_a_struck_group(judges, monkeypatch, strike)
    groups = [
        groups[place] for place in (7, 6, 5, 4, 3, 1, 2, 0)
    ]  # shortest first, as they stand in the batch
    found = []
    with pytest.raises(DeviceError, match="the GPU stopped working"):
        found.extend(judge.score_groups(groups))
    assert [verdict.group.where for verdict in found] == ["f:7", "f:6", "f:5", "f:4"]


def test_the_seconds_of_a_pass_are_shared_by_tokens(judges):
    judge = judges(MOLMO2)
    sequences = build_sequences(judge, [parse({"prompt": "p", "responses": ["a" * n]}) for n in (1, 50, 200)])
    found = score_all(engine_of(judge, 4096), sequences)
    per_token = [found[index].seconds / sequence.n_tokens for index, sequence in enumerate(sequences)]
    assert per_token[0] > 0
    assert per_token == pytest.approx([per_token[0]] * 3)


def test_results_of_a_mixed_stream_come_in_the_order_of_its_groups(judges, pictures):
    judge = judges(MOLMO2)
    groups = mixed_groups(pictures)
    random.Random(0).shuffle(groups)
    assert [verdict.group.where for verdict in judge.score_groups(groups)] == [
        group.where for group in groups
    ]


def test_usage_is_told_in_one_line(judges, pictures):
    judge = judges(MOLMO2)
    engine = engine_of(judge, 4096)
    score(engine, build_sequences(judge, mixed_groups(pictures, n=5)))
    line = engine.describe_usage()
    assert "device idle 0% of 0.0 s" in line
    assert "passes of " in line
    assert "features of 0 of 4 groups were known" in line
