"""What `yoj bench-speed` compares: the ways to read a group, what they cost by formula, and how that is measured."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.masks import dense_mask
from yoj_cli.bench.case import Sizes, count_media_tokens
from yoj_cli.bench.flops import (
    Work,
    attended_pairs,
    causal_pairs,
    count_flops,
    count_vision_flops,
    flop_counter,
)
from yoj_cli.bench.groups import GroupSource
from yoj_cli.bench.measure import matmul_peak, memory_method, peak_memory, take_turns
from yoj_cli.bench.pictures import SMALLEST_PX, STEP_PX, draw_clip, find_n_frames, find_side
from yoj_cli.bench.random_ids import Medium, draw_ids
from yoj_cli.bench.random_init import build_random, draw_clips, draw_media, draw_pictures, read_architecture
from yoj_cli.bench.speed import compare, tolerance_of
from yoj_cli.bench.variants import VARIANTS, Subject
from yoj_cli.config.bench import BenchConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import InputError, OutOfMemoryError
from yoj_cli.media.options import MediaOptions
from yoj_cli.model.adapter_layers import language_linears
from yoj_cli.scoring.vision_cache import encode
from yoj_cli.sequence.media_inputs import process_clips

CPU = torch.device("cpu")
BY_KEY = {variant.key: variant for variant in VARIANTS}
SIZES = Sizes(prompt=7, response=5, picture=18)


def config(**options):
    return JudgeConfig(device="cpu", **{"quant": "none", "dtype": "float32", **options})


def build(seed=0, **options):
    return Subject.build(*build_random("tiny", config(**options), seed))


@pytest.fixture(scope="module")
def tiny():
    return build()


def draw(subject, n, sizes=SIZES, *, orders=3, n_groups=1):
    pictures = draw_pictures("tiny", sizes.picture, n_groups, 0)
    return draw_ids(subject.backbone, n, sizes, pictures, orders=orders, seed=0)


def read(subject, case, key):
    with torch.inference_mode():
        return BY_KEY[key].read(subject, case)


@pytest.mark.parametrize("picture", [0, 18])
@pytest.mark.parametrize("n", [1, 3])
def test_all_ways_that_must_agree_do(tiny, n, picture):
    case = draw(tiny, n, Sizes(7, 5, picture))[0]
    for key, variant in BY_KEY.items():
        if variant.equals:
            wanted = read(tiny, case, variant.equals)
            assert read(tiny, case, key) == pytest.approx(wanted, abs=1e-5), variant.name
    assert {variant.key for variant in VARIANTS if variant.equals == "a"} == {"b", "c1", "c2", "d"}


def test_responses_read_together_score_otherwise_than_alone(tiny):
    case = draw(tiny, 3)[0]
    alone, together = read(tiny, case, "a"), read(tiny, case, "e")
    assert alone[0] == pytest.approx(together[0], abs=1e-5)  # it stands first in both
    assert max(abs(a - b) for a, b in zip(alone, together, strict=True)) > 1e-2


def test_the_picture_changes_the_scores_of_every_way(tiny):
    case = draw(tiny, 2)[0]
    pixels = case.multi.media_inputs["pixel_values"]
    before = {key: read(tiny, case, key) for key in BY_KEY}
    kept = pixels.clone()
    pixels.neg_()
    after = {key: read(tiny, case, key) for key in BY_KEY}
    pixels.copy_(kept)
    assert all(abs(before[key][0] - after[key][0]) > 1e-3 for key in BY_KEY)


def test_all_ways_agree_on_texts_of_unequal_length_and_pictures_of_qwen3_vl(judges, qwen_checkpoint):
    judge = judges(qwen_checkpoint)
    subject = Subject.build(judge.backbone, judge.head)
    case = GroupSource(judge).draw(3, Sizes(9, 11, 4), n_groups=1, orders=2, seed=3)[0]
    assert case.multi.n_media_tokens == 4
    assert len({sequence.n_tokens for sequence in case.alone}) > 1
    for key, variant in BY_KEY.items():
        if variant.equals:
            assert read(subject, case, key) == pytest.approx(read(subject, case, variant.equals), abs=1e-5)


def assert_all_ways_agree(subject, case):
    for key, variant in BY_KEY.items():
        if variant.equals:
            wanted = read(subject, case, variant.equals)
            assert read(subject, case, key) == pytest.approx(wanted, abs=1e-5), variant.name


@pytest.mark.parametrize("family", ["demo", "qwen"])
def test_all_ways_agree_on_drawn_clips_of_both_families(judges, qwen_checkpoint, family):
    judge = judges("demo" if family == "demo" else qwen_checkpoint)
    subject = Subject.build(judge.backbone, judge.head)
    case = GroupSource(judge).draw(3, Sizes(9, 11, 0, 120), n_groups=1, orders=2, seed=3)[0]
    pictures, clips = count_media_tokens(case.multi)
    assert (pictures, clips) == (0, pytest.approx(120, abs=8))
    assert_all_ways_agree(subject, case)


def test_all_ways_agree_on_clips_of_random_tokens(tiny):
    media = draw_media("tiny", Sizes(7, 5, 0, 20), 1, 0)
    case = draw_ids(tiny.backbone, 3, Sizes(7, 5, 0, 20), media, orders=3, seed=0)[0]
    assert count_media_tokens(case.multi) == (0, 20)
    assert case.single.n_prefix == 20 + 5 + 7
    assert_all_ways_agree(tiny, case)


def test_random_tokens_of_qwen3_vls_clips_have_their_places_in_time(judges, qwen_checkpoint):
    judge = judges(qwen_checkpoint)
    backbone = judge.backbone
    found = process_clips(backbone.processor.video_processor, [draw_clip(6, 0)])
    inputs = {name: found[name] for name in backbone.family.encodes["video"]}
    runs = backbone.family.count_media_tokens("video", inputs, backbone.processor.video_processor)
    assert len(runs) == 3  # two frames a moment
    case = draw_ids(backbone, 2, SIZES, [Medium("video", inputs, runs)], orders=2, seed=0)[0]
    assert count_media_tokens(case.multi) == (0, sum(runs))
    assert_all_ways_agree(Subject.build(backbone, judge.head), case)


@pytest.mark.parametrize(
    ("name", "n_tokens", "runs"), [("molmo2-4b", 1300, (81,) * 16), ("qwen3-vl-4b", 200, (64,) * 3)]
)
def test_a_drawn_clip_has_the_tokens_of_its_processor(name, n_tokens, runs):
    """Molmo2: 9 x 9 a frame; Qwen3-VL: 8 x 8 for every two frames of 256 pixels."""
    first, second = draw_clips(name, n_tokens, 2, seed=0)
    assert first.runs == second.runs == runs
    assert not torch.equal(first.inputs["pixel_values_videos"], second.inputs["pixel_values_videos"])


def test_the_number_of_frames_nearest_in_tokens_is_found():
    assert find_n_frames(100, lambda n_frames: 9 * n_frames) == 11
    assert find_n_frames(1, lambda n_frames: 9 * n_frames) == 2
    assert find_n_frames(10**6, lambda n_frames: 9 * n_frames) == 384


def test_drawn_ids_have_exactly_the_sizes_asked_for(tiny):
    case = draw(tiny, 4, orders=3)[0]
    picture = case.multi.n_media_tokens
    assert [sequence.n_tokens for sequence in case.alone] == [picture + 7 + 5] * 4
    assert case.single.n_prefix == picture + 7
    assert case.single.n_tokens == picture + 7 + 4 * 5
    assert case.multi.n_tokens == picture + 7 + 4 * 5 + 3
    assert case.orders.n_tokens == picture + 7 + 3 * (4 * 5 + 3)
    assert len(case.orders.score_positions) == 3


def test_drawn_texts_come_near_the_sizes_asked_for(judges):
    judge = judges("demo")
    case = GroupSource(judge).draw(2, Sizes(40, 60, 18), n_groups=1, orders=2, seed=0)[0]
    assert case.single.n_prefix - case.single.n_media_tokens == pytest.approx(40, abs=25)
    assert [x.n_tokens - case.single.n_prefix for x in case.alone] == pytest.approx([60, 60], abs=6)


def test_a_file_gives_the_first_groups_that_are_large_enough(judges, write_lines):
    lines = [{"prompt": "?", "responses": ["w" * 3] * n} for n in (2, 4, 3, 5)]
    source = GroupSource(judges("demo"))
    options = {"orders": 1, "seed": 0, "media": MediaOptions()}
    cases = source.read(str(write_lines(*lines)), 3, n_groups=2, **options)
    assert [case.n for case in cases] == [3, 3]
    with pytest.raises(InputError, match="no group has 6 responses"):
        source.read(str(write_lines(*lines)), 6, n_groups=2, **options)
    with pytest.raises(InputError, match=r"data\.jsonl:2"):
        source.read(str(write_lines(lines[0], "{", lines[1])), 3, n_groups=2, **options)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("reading", ["single", "multi", "orders"])
def test_attended_pairs_are_those_of_the_mask(tiny, reading, both_ways):
    found = getattr(draw(tiny, 3)[0], reading)
    mask = dense_mask([found], bidirectional_media_attention=both_ways)
    assert attended_pairs(found, bidirectional_media_attention=both_ways) == int(mask.sum())


def test_pairs_of_a_run_of_tokens():
    assert causal_pairs(3) == 1 + 2 + 3
    assert causal_pairs(2, n_seen=10) == 11 + 12


def counted(call):
    with torch.no_grad(), flop_counter() as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("key", ["e", "g"])
def test_the_formula_gives_what_torch_counts(tiny, key):
    """Torch counts whole squares for attention, also what a mask throws away: so does the work here."""
    case = draw(tiny, 3, Sizes(40, 60, 18))[0]
    work = BY_KEY[key].work(tiny, case)
    squares = Work(work.tokens, work.tokens**2, work.encodings, work.logits)
    formula = count_flops(tiny.backbone, squares, count_vision_flops(tiny.backbone, case.multi))
    assert formula == pytest.approx(counted(lambda: BY_KEY[key].read(tiny, case)), rel=0.005)
    assert work.pairs < squares.pairs


@pytest.mark.parametrize("key", ["a", "b", "c1", "c2", "d", "f"])
def test_the_tokens_of_every_way_are_those_that_torch_counts(tiny, key):
    """By what torch counts for the linear layers of the language model alone."""
    case = draw(tiny, 3)[0]
    layer = tiny.backbone.model.language_model.layers[0].mlp.gate_proj
    seen = []
    hook = layer.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[:-1].numel()))
    try:
        read(tiny, case, key)
    finally:
        hook.remove()
    assert BY_KEY[key].work(tiny, case).tokens == sum(seen)


def test_pictures_are_encoded_once_for_a_group_and_once_for_each_pass_alone(tiny):
    case = draw(tiny, 3)[0]
    encoded = []
    tower = tiny.backbone.model.vision_tower
    hook = tower.register_forward_pre_hook(lambda module, given: encoded.append(1))
    try:
        for key, variant in BY_KEY.items():
            encoded.clear()
            read(tiny, case, key)
            assert len(encoded) == variant.work(tiny, case).encodings == (3 if key == "a" else 1), key
    finally:
        hook.remove()


def test_vision_flops_are_zero_without_a_picture(tiny):
    assert count_vision_flops(tiny.backbone, draw(tiny, 2, Sizes(7, 5, 0))[0].multi) == 0


def test_ways_take_turns_and_the_first_call_is_kept_apart():
    calls = []
    ways = {name: lambda name=name: calls.append(name) or name.upper() for name in "abc"}
    found = take_turns(ways, CPU, warmup=2, repeats=9, tell=lambda what: None)
    rounds = ["".join(calls[at : at + 3]) for at in range(0, len(calls), 3)]
    assert len(rounds) == 12
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert {each[0] for each in rounds} == set("abc")  # none is always the one that comes after another
    assert [len(timing.times_s) for timing in found.values()] == [9, 9, 9]
    assert found["a"].found == "A"


def test_the_first_call_does_not_count():
    slow = iter([0.2, 0.0, 0.0])
    found = take_turns(
        {"a": lambda: time.sleep(next(slow))}, CPU, warmup=0, repeats=2, tell=lambda what: None
    )
    assert found["a"].first_s >= 0.2
    assert found["a"].median_s < 0.1


def test_a_way_that_does_not_fit_is_left_out_and_the_others_go_on():
    calls = []

    def too_large():
        calls.append(1)
        raise OutOfMemoryError("no room")

    found = take_turns({"a": too_large, "b": int}, CPU, warmup=1, repeats=2, tell=lambda what: None)
    assert found["a"].error == "out of memory"
    assert (len(calls), len(found["b"].times_s)) == (1, 2)


@pytest.mark.skipif(memory_method(CPU) is None, reason="only Linux tells and resets the high-water mark")
def test_peak_memory_is_that_of_one_call_and_forgets_the_calls_before():
    def allocate(n_bytes):
        return lambda: torch.ones(n_bytes, dtype=torch.uint8)

    held = torch.ones(50_000_000, dtype=torch.uint8)
    peaks = [peak_memory(allocate(n), CPU) for n in (100_000_000, 20_000_000)]
    assert peaks == pytest.approx([100e6, 20e6], rel=0.1)
    assert int(held[-1])


@pytest.mark.skipif(memory_method(CPU) is None, reason="only Linux tells and resets the high-water mark")
def test_the_official_forward_takes_the_memory_of_its_logits(tiny):
    case = draw(tiny, 4, Sizes(40, 40, 0))[0]
    n_bytes = case.multi.n_tokens * 151_936 * 4
    with torch.inference_mode():
        peaks = {key: peak_memory(lambda key=key: BY_KEY[key].read(tiny, case), CPU) for key in "eg"}
    assert peaks["g"] > 0.9 * n_bytes > 2 * peaks["e"]


def test_a_matmul_peak_is_above_what_a_small_product_reaches():
    small = torch.randn(8, 8)
    started = time.perf_counter()
    for _ in range(100):
        small @ small
    assert matmul_peak(CPU, torch.float32) > 100 * 2 * 8**3 / (time.perf_counter() - started)


@pytest.mark.parametrize(("n_tokens", "side"), [(1, SMALLEST_PX), (50, 100), (120, 300), (10**6, 300)])
def test_the_picture_nearest_in_tokens_is_found(n_tokens, side):
    """Of a processor that knows three sizes: 10 tokens, 60 from 100 px on, 110 from 300 px on."""
    found = find_side(n_tokens, lambda px: 10 if px < 100 else 60 if px < 300 else 110)
    assert side <= found <= side + STEP_PX


@pytest.mark.parametrize("name", ["molmo2-4b", "qwen3-vl-4b"])
def test_the_architectures_have_the_sizes_of_the_released_models(name):
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(**read_architecture(name)["model"]))
    linears = [module for module in model.language_model.modules() if isinstance(module, nn.Linear)]
    # 36 layers of q, k, v, o and three of the MLP
    by_hand = 36 * (2560 * (4096 + 1024 + 1024) + 4096 * 2560 + 3 * 2560 * 9728)
    assert sum(linear.weight.numel() for linear in linears) == by_hand
    n_parameters = sum(weight.numel() for weight in model.parameters())
    assert n_parameters == pytest.approx({"molmo2-4b": 4.46e9, "qwen3-vl-4b": 4.44e9}[name], rel=0.003)


@pytest.mark.parametrize(("name", "n_tokens"), [("molmo2-4b", 392), ("qwen3-vl-4b", 400)])
def test_a_drawn_picture_has_the_tokens_of_its_processor(name, n_tokens):
    """Molmo2: 14 x 14 of the whole and as many of one crop; Qwen3-VL: a square of 20 x 20."""
    first, second = draw_pictures(name, n_tokens, 2, seed=0)
    assert first.n_tokens == second.n_tokens == n_tokens
    assert not torch.equal(first.inputs["pixel_values"], second.inputs["pixel_values"])


@pytest.mark.parametrize(
    ("quant", "kind"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt"), ("none", "Linear")]
)
def test_random_layers_are_quantized_as_asked_and_all_are_filled(quant, kind):
    backbone = build(quant=quant).backbone
    assert {type(each).__name__ for each in language_linears(backbone).values()} == {kind}
    assert type(backbone.model.vision_tower.layers[0].mlp.fc1) is nn.Linear
    tensors = [*backbone.model.parameters(), *backbone.model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors)


@pytest.mark.parametrize(("quant", "dtype"), [("4bit", "float32"), ("none", "bfloat16"), ("8bit", "float32")])
def test_every_type_agrees_within_its_tolerance(quant, dtype):
    subject = build(quant=quant, dtype=dtype)
    case = draw(subject, 2)[0]
    gaps = [
        abs(a - b)
        for key, variant in BY_KEY.items()
        if variant.equals
        for a, b in zip(read(subject, case, key), read(subject, case, variant.equals), strict=True)
    ]
    assert max(gaps) < tolerance_of(dtype, quant)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("quant", ["4bit", "8bit", "none"])
def test_a_gpu_agrees_within_its_tolerance_and_its_memory_is_known(quant):
    subject = Subject.build(*build_random("tiny", JudgeConfig(device="cuda", quant=quant), 0))
    settings = BenchConfig(random_init="tiny", device="cuda", quant=quant, repeats=1, warmup=0)
    found = compare(subject, draw(subject, 3), settings, tell=lambda what: None)
    assert not found.disagreements
    assert all(row.peak_memory_bytes for row in found.rows)


def test_random_weights_follow_the_seed():
    case = draw(build(), 2)[0]
    first, same, other = (read(build(seed), case, "a") for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_half_precision_has_a_wider_tolerance_and_8bit_the_widest():
    assert tolerance_of("float32", "4bit") == tolerance_of("float32", "none") == 1e-4
    assert (
        1e-4
        < tolerance_of("float16", "none")
        < tolerance_of("bfloat16", "4bit")
        < tolerance_of("float32", "8bit")
    )


def test_a_way_that_reads_something_else_is_found_out(tiny):
    """(a) and (b) are given other responses than the rest, and (e) and (g) agree on theirs."""
    good, wrong = draw(tiny, 2)[0], draw(tiny, 3)[0]
    mixed = replace(good, alone=wrong.alone[1:])
    settings = BenchConfig(
        random_init="tiny", device="cpu", quant="none", dtype="float32", repeats=1, warmup=0
    )
    found = compare(tiny, [mixed], settings, tell=lambda what: None)
    assert [row.key for row in found.disagreements] == ["c", "d", "c"]


def test_features_encoded_once_are_those_of_every_row(tiny):
    case = draw(tiny, 2)[0]
    with torch.inference_mode():
        first, second = (encode(tiny.backbone, [sequence.media_inputs])[0] for sequence in case.alone)
    assert torch.equal(first["image"].pooled, second["image"].pooled)
