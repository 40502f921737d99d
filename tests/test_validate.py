"""What is found out about the data before the first step."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests.conftest import PARITY
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import InputError
from yoj_cli.groups import Failure
from yoj_cli.media.options import MediaOptions
from yoj_cli.train.data import read_ranked, shuffle_responses
from yoj_cli.train.memory_estimate import estimate_memory
from yoj_cli.train.model import build_sequences, load_base_on_meta
from yoj_cli.train.prepare import prepare
from yoj_cli.train.starting_point import find_base
from yoj_cli.train.validate import count_shared, validate_data

BASE = str(PARITY / "checkpoint")


def look(path, **options):
    config = TrainConfig(base=BASE, device="cpu", **options)
    shape = load_base_on_meta(config, find_base(config))
    items = read_ranked([path], limit=config.limit)
    return validate_data(items, build_sequences(config, shape), MediaOptions(), config, what="DATA")


def ranked(*rankings, **fields):
    return {
        "prompt": "p",
        "responses": [f"text {index}" for index in range(len(rankings))],
        "rankings": list(rankings),
        **fields,
    }


def test_groups_responses_media_ties_and_chance_are_counted(write_lines, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    path = write_lines(
        ranked(1, 2),
        ranked(2, 1, 1, 3, image="a.png"),
        ranked(1, 1, 1),
        {"prompt": "p", "chosen": "yes", "rejected": "no"},
    )
    report = look(path)
    counts = report.counts()
    assert counts["groups"] == 3
    assert counts["responses"] == 8
    assert (counts["groups_of_2"], counts["groups_of_4"]) == (2, 1)
    assert (counts["groups_with_text"], counts["groups_with_image"]) == (2, 1)
    assert counts["groups_with_ties"] == 1
    assert counts["single_best_share"] == pytest.approx(2 / 3, abs=1e-4)
    assert counts["best_first_share"] == pytest.approx(2 / 3, abs=1e-4)
    assert counts["chance"] == pytest.approx(0.5)
    assert report.teaches_nothing == [f"{path}:3"]
    assert report.longest[1] == f"{path}:2"


def test_the_longest_group_is_as_long_as_the_judge_finds_it(write_lines, judges):
    path = write_lines(ranked(1, 2), ranked(3, 1, 2, prompt="a longer question"))
    verdict = judges(PARITY / "checkpoint").score(
        prompt="a longer question", responses=["text 0", "text 1", "text 2"]
    )
    assert look(path).longest == (verdict.n_tokens, f"{path}:2")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "p", "responses": ["a", "b"]}, "no 'rankings'"),
        (ranked(1, 2) | {"rankings": [1, 2, 3]}, "3 entries for 2 responses"),
        (ranked(1, 2, image="nope.png"), "nope.png"),
        ("{", "not JSON|cut off|invalid|JSON"),
    ],
)
def test_a_line_that_cannot_be_used_is_an_error_with_its_place_and_a_way_out(write_lines, record, message):
    path = write_lines(ranked(1, 2), record)
    with pytest.raises(InputError, match=rf"data.jsonl:2: [\s\S]*({message})[\s\S]*--on-error skip"):
        look(path)
    report = look(path, on_error="skip")
    assert report.n_groups == 1
    assert [error.where.split(": ")[0] for error in report.unusable] == [f"{path}:2"]


def test_groups_over_the_limit_are_an_error_or_left_out_and_listed(write_lines):
    long = ranked(1, 2, prompt="word " * 300)
    path = write_lines(ranked(1, 2), long, long)
    with pytest.raises(InputError, match=r"2 groups are too long:\n  .*:2: [\s\S]*:3: [\s\S]*--on-long skip"):
        look(path, max_tokens=200)
    report = look(path, max_tokens=200, on_long="skip")
    assert report.n_groups == 1
    assert len(report.too_long) == 2


def test_many_errors_are_listed_in_part_and_counted_in_full(write_lines):
    path = write_lines(*[{"prompt": "p", "responses": ["a"]}] * 25)
    with pytest.raises(InputError, match=r"25 groups cannot be used[\s\S]*:10: [\s\S]*… and 15 more"):
        look(path)


def test_nothing_left_to_learn_from_is_an_error_that_says_why(write_lines):
    with pytest.raises(InputError, match=r"no group is left to use \(all responses tie: 2\)\n.*ranked above"):
        look(write_lines(ranked(1, 1), ranked(2, 2)))
    with pytest.raises(
        InputError, match=r"no group is left to use \(unusable: 1\)\nThe first: .*no 'rankings'"
    ):
        look(write_lines({"prompt": "p", "responses": ["a"]}), on_error="skip")
    with pytest.raises(InputError, match=r"no group is left to use \(the files hold none\)"):
        look(write_lines())


def test_the_fingerprint_tells_other_lines_and_another_order(write_lines):
    one, other = ranked(1, 2), ranked(2, 1)
    found = [
        look(write_lines(*lines)).fingerprint for lines in ([one, other], [one, other], [other, one], [one])
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_without_check_no_file_is_touched(write_lines):
    report = look(write_lines(ranked(1, 2, image="nope.png")), check=False)
    assert report.n_groups == 1
    assert report.longest == (0, "")


def test_held_out_groups_that_are_learnt_from_are_counted(write_lines):
    train = look(write_lines(ranked(1, 2), ranked(1, 2, prompt="q"))).groups
    held = look(write_lines(ranked(1, 2, prompt="q"), ranked(1, 2, prompt="r"), name="held.jsonl")).groups
    assert count_shared(train, held) == 1


def test_a_limit_counts_groups_and_not_lines(write_lines):
    path = write_lines(ranked(1, 2), "{", ranked(2, 1), ranked(1, 2))
    items = list(read_ranked([path], limit=2))
    assert [isinstance(item, Failure) for item in items] == [False, True, False]


def test_responses_are_shuffled_with_their_ranks_and_anew_in_each_epoch(write_lines):
    path = write_lines(ranked(1, 2, 3, 4, 5, 6))
    [group] = read_ranked([path])
    orders = [shuffle_responses(group, 0, epoch) for epoch in range(4)]
    assert len({order.responses for order in orders}) == 4
    pairs = set(zip(group.responses, group.rankings, strict=True))
    assert all(set(zip(order.responses, order.rankings, strict=True)) == pairs for order in orders)
    assert shuffle_responses(group, 0, 2) == orders[2]
    assert shuffle_responses(group, 1, 2) != orders[2]


def test_a_dry_run_needs_no_gpu_and_no_weights(write_lines, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (tmp_path / "base").mkdir(exist_ok=True)
        (tmp_path / "base" / name).write_bytes((PARITY / "checkpoint" / name).read_bytes())
    (tmp_path / "base" / "chat_template.jinja").write_bytes(
        (PARITY / "checkpoint" / "chat_template.jinja").read_bytes()
    )
    config = TrainConfig(base=str(tmp_path / "base"), device="cuda")
    run = prepare([write_lines(ranked(1, 2))], tmp_path / "out", config)
    assert run.n_steps == 3
    assert run.memory is not None
    assert not (tmp_path / "out").exists()


def test_activations_are_kept_where_twice_of_what_they_take_is_free(write_lines, tmp_path, monkeypatch):
    data = [write_lines(ranked(1, 2))]

    def decide(n_free: float, **options) -> bool | None:
        monkeypatch.setattr("yoj_cli.train.prepare.available_bytes", lambda _: n_free)
        config = TrainConfig(base=BASE, device="cpu", head_dim=32, **options)
        return prepare(data, tmp_path / "out", config).config.gradient_checkpointing

    kept = prepare(data, tmp_path / "out", TrainConfig(base=BASE, head_dim=32, gradient_checkpointing=False))
    needed = kept.memory.total - kept.memory.process
    assert decide(2.1 * needed) is False
    assert decide(1.9 * needed) is True
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # of two processes on a machine each takes as much
    assert decide(2.1 * needed) is True
    assert decide(4.1 * needed) is False
    assert decide(4.1 * needed, check=False) is True  # lengths unknown
    assert decide(1.0, gradient_checkpointing=False) is False
    assert decide(1e15, gradient_checkpointing=True) is True


@pytest.mark.parametrize("quant", ["4bit", "none"])
def test_the_memory_estimate_is_near_what_is_counted(write_lines, quant):
    """Weights and optimizer to a tenth; activations within a factor of two of what autograd keeps."""
    config = TrainConfig(
        base=BASE, device="cpu", quant=quant, lora_r=16, head_dim=32, gradient_checkpointing=False
    )
    shape = load_base_on_meta(config, find_base(config))
    report = look(write_lines(ranked(1, 2, prompt="word " * 400)))
    estimate = estimate_memory(shape, config, torch.float32, report.longest[0])
    from yoj_cli.train.model import load_model

    model = load_model(config, find_base(config)).train()
    frozen = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    trained = sum(p.numel() * 16 for p in model.parameters() if p.requires_grad)
    assert estimate.weights == pytest.approx(frozen, rel=0.1)
    assert estimate.trained == pytest.approx(trained, rel=0.1)
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    [group] = report.groups
    from yoj_cli.plan.branches import build_plan

    sequence = build_sequences(config, model.backbone).prepare(group, build_plan(2), MediaOptions())
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        torch.cat(model([sequence])[0]).sum()
    n_bytes = sum(size for place, size in kept.items() if place not in weights)
    assert 0.5 < estimate.activations / n_bytes < 2
