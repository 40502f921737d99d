"""Groups that are too long: their end cut off, or media shown smaller, as the released trainer does."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PARITY
from tests.test_train import SMALL
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import TooLongError, UsageError
from yoj_cli.media.load import Clip
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import build_plan
from yoj_cli.records.parse import parse
from yoj_cli.sequence.vision_budget import Shown, shrink
from yoj_cli.train.data import Examples
from yoj_cli.train.model import build_sequences, load_base_on_meta
from yoj_cli.train.starting_point import find_base
from yoj_cli.train.validate import validate_data

BASE = PARITY / "checkpoint"


def builder(base=BASE, **options):
    config = TrainConfig(**SMALL | {"base": str(base)} | options)
    return config, build_sequences(config, load_base_on_meta(config, find_base(config)))


def sequence_of(group, mode="multi", base=BASE, **options):
    return builder(base, **options)[1].prepare(
        group, build_plan(len(group.responses), mode=mode), MediaOptions()
    )


TEXT = parse({"prompt": "p", "responses": ["one two", "three four five", "six"], "rankings": [3, 1, 2]})


def test_a_long_group_loses_its_end_and_what_begins_there():
    whole = sequence_of(TEXT)
    ends = whole.score_positions[0]
    for n in (ends[1] + 1, ends[1], ends[1] - 1):
        cut = sequence_of(TEXT, on_long="truncate", max_tokens=n)
        assert cut.input_ids[0].tolist() == whole.input_ids[0, :n].tolist()
        assert cut.score_positions == ((ends[0], n - 1),)
        assert cut.n_cut == whole.n_tokens - n
    assert sequence_of(TEXT, on_long="truncate", max_tokens=whole.n_tokens).n_cut == 0
    with pytest.raises(TooLongError):
        sequence_of(TEXT, max_tokens=whole.n_tokens - 1)
    with pytest.raises(TooLongError):  # nothing of any response would be left
        sequence_of(TEXT, on_long="truncate", max_tokens=5)


def test_single_responses_each_lose_their_own_end():
    whole = sequence_of(TEXT, "single")
    longest = max(whole.branch_lengths) + whole.n_prefix
    cut = sequence_of(TEXT, "single", on_long="truncate", max_tokens=longest - 1)
    assert [len(ends) for ends in cut.score_positions] == [1, 1, 1]
    assert sum(whole.branch_lengths) - sum(cut.branch_lengths) == 1


def test_an_example_has_the_responses_that_are_left_with_their_ranks():
    n = sequence_of(TEXT).score_positions[0][1]
    _, build = builder(on_long="truncate", max_tokens=n)
    example = Examples([TEXT], build, MediaOptions(), "multi", None)[0].result()
    assert (example.group.responses, example.group.rankings) == (TEXT.responses[:2], (3.0, 1.0))


def test_what_is_cut_and_shrunk_is_counted():
    n = sequence_of(TEXT).score_positions[0][1]
    config, build = builder(on_long="truncate", max_tokens=n)
    report = validate_data([TEXT, TEXT], build, MediaOptions(), config, what="DATA")
    assert (report.n_truncated, report.n_cut, report.n_shrunk) == (2, 2, 0)
    assert {key: report.counts()[key] for key in ("truncated", "cut_responses")} == {
        "truncated": 2,
        "cut_responses": 2,
    }


@pytest.fixture
def many_crops(tmp_path):
    """The parity checkpoint with a processor that cuts up to 8 crops, and a group with a picture that needs them."""
    base = shutil.copytree(BASE, tmp_path / "base")
    settings = json.loads((BASE / "processor_config.json").read_text())
    settings["image_processor"]["max_crops"] = 8
    (base / "processor_config.json").write_text(json.dumps(settings))
    Image.fromarray(np.zeros((60, 500, 3), np.uint8)).save(tmp_path / "large.png")
    record = {
        "prompt": "p",
        "image": str(tmp_path / "large.png"),
        "responses": ["a", "b"],
        "rankings": [1, 2],
    }
    return base, parse(record)


def test_fewer_crops_are_tried_until_a_picture_fits(many_crops):
    base, group = many_crops
    found = {n: sequence_of(group, base=base, max_crops=n).n_media_tokens for n in (8, 4, 2, 1)}
    assert found[8] > found[4] > found[2] > found[1]
    assert sequence_of(group, base=base).n_media_tokens == found[8]
    for n in (4, 2, 1):
        shrunk = sequence_of(group, base=base, max_vision_tokens=found[n])
        assert (shrunk.n_media_tokens, shrunk.is_shrunk) == (found[n], True)
        assert shrunk.media_key != sequence_of(group, base=base).media_key
    assert not sequence_of(group, base=base, max_vision_tokens=found[8]).is_shrunk
    with pytest.raises(TooLongError, match=f"take {found[1]} tokens at least"):
        sequence_of(group, base=base, max_vision_tokens=found[1] - 1)


def test_text_leaves_media_what_is_left_of_the_tokens_but_256(many_crops):
    base, group = many_crops
    whole = sequence_of(group, base=base)
    text = whole.n_tokens - whole.n_media_tokens
    fits = text + whole.n_media_tokens + 256
    assert not sequence_of(group, base=base, max_vision_tokens=9999, max_tokens=fits).is_shrunk
    assert sequence_of(group, base=base, max_vision_tokens=9999, max_tokens=fits - 1).is_shrunk


def clip(n: int) -> Clip:
    frames = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return Clip(frames, tuple(map(float, range(n))), float(n), "clip")


def test_a_clip_keeps_frames_evenly_from_the_first_to_the_last():
    smaller = shrink(Shown([clip(8)]), None, n_vision=80, room=35)
    (kept,) = smaller.media
    assert kept.times_s == (
        0.0,
        3.0,
        7.0,
    )  # numpy's linspace(0, 7, 3) in whole numbers, as the released trainer
    assert kept.frames[:, 0, 0, 0].tolist() == [0, 3, 7]
    assert kept.digest != "clip"
    assert shrink(Shown([clip(8)]), None, n_vision=80, room=9) is None
    assert shrink(Shown([clip(1)]), None, n_vision=10, room=9) is None


def test_a_clip_that_takes_too_much_is_shown_with_fewer_frames():
    record = {
        "prompt": "p",
        "video": str(PARITY.parents[2] / "examples/clips/scene-1.mp4"),
        "responses": ["a", "b"],
    }
    group = parse(record)
    whole = sequence_of(group)
    smaller = sequence_of(group, max_vision_tokens=whole.n_media_tokens)
    assert smaller.is_shrunk  # the times that are printed count, too
    assert 0 < smaller.n_media_tokens < whole.n_media_tokens


def test_the_number_of_crops_goes_into_the_checkpoint_and_other_families_have_none(qwen_checkpoint):
    config = TrainConfig(**SMALL | {"max_crops": 3})
    backbone = load_base_on_meta(config, find_base(config))
    assert backbone.processor.image_processor.max_crops == 3
    other = TrainConfig(**SMALL | {"base": str(qwen_checkpoint), "max_crops": 3})
    with pytest.raises(UsageError, match="cuts no crops"):
        load_base_on_meta(other, find_base(other))
