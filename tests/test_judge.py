"""The judge: modes that agree, scores that depend on nothing else, streams that lose nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import PARITY
from yoj_cli import Judge
from yoj_cli.errors import (
    DeviceError,
    InputError,
    MediaError,
    OutOfMemoryError,
    UnexpectedError,
    UsageError,
)
from yoj_cli.groups import Failure
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import parse
from yoj_cli.scoring.forward import branch_scores
from yoj_cli.scoring.prefetch import N_PREFETCHED
from yoj_cli.scoring.stream import PREFETCHED_BATCHES

MOLMO2 = PARITY / "checkpoint"
TOLERANCE = 1e-4
WORDS = ["red", "blue", "circle", "square", "left", "right", "the", "a", "of", "and", "small", "big\n"]


def random_texts(n, seed):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 20))) for _ in range(n)]


@pytest.fixture(params=["molmo2", "qwen3_vl", "adapter"])
def checkpoint(request):
    if request.param == "molmo2":
        return MOLMO2
    return request.getfixturevalue("qwen_checkpoint" if request.param == "qwen3_vl" else "adapter_checkpoint")


@pytest.fixture(params=["text", "picture", "frames"])
def media(request, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 50, 70, 3), dtype=np.uint8)
    for index, frame in enumerate(pixels):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    if request.param == "text":
        return {}
    if request.param == "picture":
        return {"images": [str(tmp_path / "frames" / "0.png")]}
    return {"videos": [{"frames": str(tmp_path / "frames")}]}


@pytest.mark.parametrize("quant", ["none", "4bit"])
def test_single_in_one_pass_equals_separate_passes(judges, checkpoint, media, quant):
    judge = judges(checkpoint, mode="single", quant=quant)
    responses = random_texts(5, seed=1)
    together = judge.score(prompt="p", responses=responses, **media)
    alone = [judge.score(prompt="p", responses=[text], **media).scores[0] for text in responses]
    assert together.scores == pytest.approx(alone, abs=TOLERANCE)


@pytest.mark.parametrize("options", [{"mode": "single"}, {"orders": 4}, {"window": 3}])
def test_chunks_over_the_prefix_cache_equal_one_pass(judges, checkpoint, media, options):
    judge = judges(checkpoint, **options)
    record = {"prompt": "p", "responses": random_texts(6, seed=2), **media}
    _, sequence = judge.prepare(parse(record), MediaOptions())
    with torch.inference_mode():
        whole = branch_scores(judge.backbone, judge.head, sequence, max_tokens_per_forward=10**9)
        chunks = branch_scores(
            judge.backbone, judge.head, sequence, max_tokens_per_forward=sequence.n_prefix + 1
        )
    assert torch.cat(chunks).tolist() == pytest.approx(torch.cat(whole).tolist(), abs=TOLERANCE)


def test_orders_average_the_centred_scores_of_each_order(judges, checkpoint, media):
    plain, both = judges(checkpoint), judges(checkpoint, orders=2)
    responses = random_texts(4, seed=3)
    forward = np.array(plain.score(prompt="p", responses=responses, **media).scores)
    backward = np.array(plain.score(prompt="p", responses=responses[::-1], **media).scores)[::-1]
    centred = np.stack([forward - forward.mean(), backward - backward.mean()])
    verdict = both.score(prompt="p", responses=responses, **media)
    assert verdict.scores == pytest.approx(centred.mean(axis=0), abs=TOLERANCE)
    assert verdict.spread == pytest.approx(centred.std(axis=0), abs=TOLERANCE)


def test_a_later_response_does_not_change_an_earlier_score(judges):
    judge = judges(MOLMO2)
    responses = random_texts(4, seed=4)
    full = judge.score(prompt="p", responses=responses).scores
    changed = judge.score(prompt="p", responses=[*responses[:3], "something else"]).scores
    assert changed[:3] == pytest.approx(full[:3], abs=TOLERANCE)


def test_scores_do_not_depend_on_the_other_groups_of_a_stream(judges):
    judge = judges(MOLMO2)
    groups = [parse({"prompt": f"p{i}", "responses": random_texts(1 + i % 5, seed=i)}) for i in range(12)]
    alone = [judge.score_group(group).scores for group in groups]
    for order in (1, -1):
        streamed = [verdict.scores for verdict in judge.score_groups(groups[::order])][::order]
        for found, wanted in zip(streamed, alone, strict=True):
            assert found == pytest.approx(wanted, abs=1e-5)


def test_the_same_stream_scores_the_same_to_the_bit_however_fast_it_comes(judges):
    judge = judges(MOLMO2, max_batch_tokens=256)
    groups = [parse({"prompt": f"p{i}", "responses": random_texts(1 + i % 5, seed=i)}) for i in range(40)]

    def slowly():
        for index, group in enumerate(groups):
            time.sleep(0.02 * (index % 3))
            yield group

    at_once, one_by_one = (
        [item.scores for item in judge.score_groups(stream)] for stream in (groups, slowly())
    )
    assert at_once == one_by_one


def test_groups_that_are_read_alone_score_the_same_to_the_bit(judges):
    judge = judges(MOLMO2, max_batch_tokens=1)
    groups = [parse({"prompt": f"p{i}", "responses": random_texts(1 + i % 5, seed=i)}) for i in range(12)]
    streamed = [verdict.scores for verdict in judge.score_groups(groups)]
    assert streamed == [judge.score_group(group).scores for group in groups]
    assert [verdict.scores for verdict in judge.score_groups(groups[::-1])] == streamed[::-1]


def test_a_stream_gives_failures_in_their_place(judges):
    judge = judges(MOLMO2)
    bad_line = Failure("f:2", {}, InputError("bad"))
    groups = [
        parse({"prompt": "p", "responses": ["a"]}, where="f:1"),
        bad_line,
        parse({"image": "/nowhere.png", "responses": ["a"]}, where="f:3"),
        parse({"prompt": "p", "responses": ["b"]}, where="f:4"),
    ]
    found = list(judge.score_groups(groups))
    assert found[1] is bad_line
    assert isinstance(found[2], Failure)
    assert str(found[2].error).startswith("f:3: /nowhere.png: ")
    assert [item.group.where for item in (found[0], found[3])] == ["f:1", "f:4"]


class Odd(Image.Image):
    """A picture whose decoder gives up in an odd way."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    @property
    def size(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "what"),
    [
        (ZeroDivisionError("1 / 0"), UnexpectedError, "unexpected ZeroDivisionError: 1 / 0"),
        (MemoryError(), OutOfMemoryError, "out of memory while the group was prepared"),
        (
            OSError(24, "Too many open files"),
            InputError,
            "the system refused what this group needs: [Errno 24]",
        ),
    ],
)
def test_whatever_goes_wrong_before_the_pass_costs_its_own_group(judges, error, kind, what):
    shown = [{}, {"images": [Odd(error)]}, {}]
    groups = [
        parse({"prompt": "p", "responses": ["a"], **more}, where=f"f:{i}") for i, more in enumerate(shown)
    ]
    first, failed, last = judges(MOLMO2).score_groups(groups)
    assert (first.group.where, last.group.where) == ("f:0", "f:2")
    assert type(failed.error) is kind
    assert str(failed.error).startswith(f"f:1: {what}")


def test_a_picture_that_the_processor_refuses_costs_the_groups_that_show_it(
    judges, qwen_checkpoint, tmp_path
):
    Image.new("RGB", (20_000, 1)).save(tmp_path / "line.png")
    record = {"prompt": "p", "image": str(tmp_path / "line.png"), "responses": ["a"]}
    groups = [parse(record, where=f"f:{i}") for i in range(6)]
    found = list(judges(qwen_checkpoint).score_groups(groups))
    for i, failure in enumerate(found):  # the picture is processed once, and its error told of each group
        assert type(failure.error) is MediaError
        assert failure.error.where == f"f:{i}"
        assert "absolute aspect ratio must be smaller than 200" in failure.error.what


def test_a_clip_in_a_line_needs_no_temporary_folder(judges, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    group = parse({"video": "data:video/mp4;base64,AAAA", "responses": ["a"]}, where="f:1")
    (failure,) = judges(MOLMO2).score_groups([group])
    assert "not a clip that FFmpeg can read" in str(failure.error)


def test_a_stream_is_read_a_bounded_number_of_groups_ahead(judges):
    n_read = 0

    def groups():
        nonlocal n_read
        for _ in range(100):
            n_read += 1
            yield parse({"prompt": "p", "responses": ["a"]})

    stream = judges(MOLMO2, max_batch_tokens=1).score_groups(groups())
    next(stream)
    stream.close()
    assert n_read <= 6


@pytest.mark.slow
def test_a_stream_of_tiny_groups_keeps_few_of_them_in_memory(judges):
    judge = judges(MOLMO2, max_batch_tokens=256)
    group = parse({"prompt": "p", "responses": ["a"]})
    _, sequence = judge.prepare(group, MediaOptions())
    n_read = n_given = most_alive = 0

    def groups():
        nonlocal n_read
        for _ in range(5000):
            n_read += 1
            yield group

    for _ in judge.score_groups(groups()):
        n_given += 1
        most_alive = max(most_alive, n_read - n_given)
    assert n_given == 5000
    prepared_ahead = PREFETCHED_BATCHES * 256 / sequence.n_tokens + N_PREFETCHED
    assert most_alive <= 2 * prepared_ahead + N_PREFETCHED  # one lot is scored while the next is prepared


def test_a_group_is_scored_while_the_next_one_is_yet_to_come(judges):
    asked_for_more = threading.Event()
    given = threading.Event()

    def groups():
        yield parse({"prompt": "p", "responses": ["a"]}, where="f:1")
        asked_for_more.set()
        assert given.wait(60), "the first group waits for the second"
        yield parse({"prompt": "p", "responses": ["b"]}, where="f:2")

    stream = judges(MOLMO2).score_groups(groups(), live=True)
    assert next(stream).group.where == "f:1"
    assert asked_for_more.wait(60)
    given.set()
    assert [item.group.where for item in stream] == ["f:2"]


def test_the_time_spent_waiting_for_a_group_is_counted(judges):
    usage = judges(MOLMO2).engine.usage
    waited_s, busy_s = usage.waited_s, usage.busy_s

    def groups():
        time.sleep(0.05)
        yield parse({"prompt": "p", "responses": ["a"]})

    list(judges(MOLMO2).score_groups(groups()))
    assert usage.waited_s - waited_s > 0.02
    assert usage.busy_s > busy_s


def test_an_error_of_the_stream_comes_after_the_groups_before_it(judges):
    def groups():
        yield parse({"prompt": "p", "responses": ["a"]})
        yield parse({"prompt": "p", "responses": ["b"]})
        raise InputError("cannot be read")

    found = []
    with pytest.raises(InputError, match="cannot be read"):
        found.extend(judges(MOLMO2).score_groups(groups()))
    assert len(found) == 2


def test_pictures_in_memory_score_as_their_files(judges, tmp_path):
    judge = judges(MOLMO2)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    image.save(tmp_path / "a.png")
    from_file = judge.score(images=[tmp_path / "a.png"], responses=["a", "b"])
    assert judge.score(images=[image], responses=["a", "b"]).scores == from_file.scores
    assert from_file.group.prompt == "Describe this image."


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"responses": "ab"}, "'responses' must be a list of at least one text, found a text"),
        ({"responses": b"ab"}, "'responses' must be a list of at least one text, found a bytes"),
        ({"responses": {"a", "b"}}, "'responses' must be a list of at least one text, found a set"),
        ({"responses": {"a": 1}}, "'responses' must be a list of at least one text, found an object"),
        ({"responses": None}, "the line has no responses"),
        ({"responses": []}, "'responses' must be a list of at least one text, found an empty list"),
        ({"responses": [1]}, "'responses[0]' must be a text, found the number 1"),
        ({"prompt": ["a"]}, "prompt[0] must be an object with 'role' and 'content'"),
        ({"messages": "hi", "prompt": None}, "'messages' must be a list of turns, found a text"),
        ({"messages": []}, "the line has both 'messages' and 'prompt'"),
        ({"prompt": None}, "the line has no prompt"),
        ({"images": 5}, "'images' must name a picture, found the number 5"),
        ({"images": ""}, "'images' must name a picture, found an empty text"),
        ({"images": b"GIF"}, "'images' must name a picture, found a bytes"),
        ({"images": torch.zeros(4, 4, 3)}, "'images' must name a picture, found a Tensor"),
        (
            {"images": np.zeros((4, 4, 3))},
            "an array in 'images' must be (height, width, 3) of uint8 (RGB), found",
        ),
        (
            {"images": [np.zeros((3, 4, 4), np.uint8)]},
            "an array in 'images' must be (height, width, 3) of uint8",
        ),
        (
            {"images": np.zeros((4, 4), np.uint8)},
            "an array in 'images' must be (height, width, 3) of uint8 (RGB)",
        ),
        ({"videos": np.zeros((2, 4, 4, 3), np.uint8)}, "'videos' must name a clip, found a ndarray"),
    ],
)
def test_values_of_a_wrong_type_are_refused_with_what_to_give(judges, given, what):
    with pytest.raises(InputError) as refused:
        judges(MOLMO2).score(**{"prompt": "p", "responses": ["a"], **given})
    assert refused.value.what.startswith(what)


def test_one_picture_stands_for_a_list_of_one(judges, tmp_path):
    judge = judges(MOLMO2)
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    wanted = judge.score(images=[path], responses=["a", "b"]).scores
    for one in (str(path), path, Image.fromarray(pixels), pixels, pixels[None], (path,), iter([path])):
        assert judge.score(images=one, responses=("a", "b")).scores == wanted


@pytest.mark.parametrize("responses", [("a", "b"), np.array(["a", "b"]), (text for text in "ab")])
def test_responses_may_be_whatever_holds_texts_in_an_order(judges, responses):
    assert judges(MOLMO2).score(prompt="p", responses=responses).group.responses == ("a", "b")


def test_an_empty_prompt_is_a_prompt_as_in_a_line(judges):
    image = Image.new("RGB", (30, 30))
    asked = judges(MOLMO2).score(prompt="", images=image, responses=["a"])
    assert asked.group.prompt == "" == parse({"prompt": "", "image": image, "responses": ["a"]}).prompt
    assert judges(MOLMO2).score(images=image, responses=["a"]).group.prompt == "Describe this image."


def test_many_responses_are_scored(judges):
    verdict = judges(MOLMO2, mode="single").score(prompt="p", responses=[f"r{i}" for i in range(64)])
    assert len(verdict.scores) == 64
    assert sum(verdict.p_best) == pytest.approx(1)


def test_duplicates_alone_score_the_same(judges):
    verdict = judges(MOLMO2, mode="single").score(prompt="p", responses=["same", "other", "same"])
    assert verdict.scores[0] == pytest.approx(verdict.scores[2], abs=TOLERANCE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("quant", ["4bit", "8bit", "none"])
def test_every_quantization_and_dtype_gives_finite_scores_near_full_precision(judges, golden, quant, dtype):
    record = {"prompt": golden[3]["prompt"], "responses": golden[3]["responses"]}
    full = judges(MOLMO2).score(**record).scores
    found = judges(MOLMO2, quant=quant, dtype=dtype).score(**record).scores
    assert np.abs(np.array(found) - full).mean() < 1
    assert (quant, dtype) != ("none", "float32") or found == full


def test_only_the_language_model_is_quantized(judges):
    model = judges(MOLMO2, quant="4bit").backbone.model
    kinds = {
        part: {
            type(module).__name__ for name, module in model.named_modules() if part in name and "proj" in name
        }
        for part in ("language_model", "vision_tower", "multi_modal_projector")
    }
    assert "Linear4bit" in kinds["language_model"]
    assert "Linear4bit" not in kinds["vision_tower"] | kinds["multi_modal_projector"]


def test_the_head_computes_in_float32(judges):
    judge = judges(MOLMO2, dtype="bfloat16")
    assert {parameter.dtype for parameter in judge.head.parameters()} == {torch.float32}


def test_a_limit_beyond_the_backbones_context_is_a_usage_error():
    with pytest.raises(UsageError, match="5000 is beyond the backbone's context of 4096 tokens"):
        Judge.load(str(MOLMO2), device="cpu", quant="none", max_tokens=5000)


def test_an_unknown_option_is_a_usage_error():
    with pytest.raises(UsageError, match="quantization"):
        Judge.load("demo", quantization="4bit")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_small_judge_runs_on_a_cpu_unasked_and_a_large_one_is_refused(adapter_checkpoint, tmp_path):
    """By what its weight files weigh, its base's among them."""
    assert Judge.load(str(adapter_checkpoint)).backbone.device.type == "cpu"
    folder = Path(shutil.copytree(adapter_checkpoint, tmp_path / "judge"))
    base = Path(shutil.copytree(MOLMO2, tmp_path / "base"))
    (base / "large.safetensors").touch()
    os.truncate(base / "large.safetensors", 9_000_000_000)  # holds nothing and takes no room
    config = json.loads((folder / "reward_model_config.json").read_text())
    (folder / "reward_model_config.json").write_text(json.dumps(config | {"base_model": str(base)}))
    with pytest.raises(DeviceError, match=r"9\.0 GB of weights(?s:.*)--model demo.*--device cpu"):
        Judge.load(str(folder))


def test_what_auto_stood_for_is_named_so_that_a_run_can_be_repeated(judges, adapter_checkpoint, tmp_path):
    asked = judges(adapter_checkpoint, quant="auto", dtype="auto").description
    again = judges(adapter_checkpoint, quant=asked["quant"], dtype=asked["dtype"])
    assert again.description == asked
    assert asked["quant"] in ("4bit", "none")
    assert judges("demo", quant="auto", dtype="auto").description["quant"] == "4bit"
    assert judges("demo", quant="auto", dtype="auto").description["dtype"] == "float32"
    assert judges("demo", quant="none", dtype="bfloat16").description["quant"] == "none"


def test_the_description_tells_judges_apart(judges):
    one, two = judges(MOLMO2), judges(MOLMO2, mode="single", quant="4bit")
    assert one.description != two.description
    assert two.description["quant"] == "4bit"
