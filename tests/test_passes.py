"""A training step, several groups to a pass: the gradients of one at a time, and what is done when memory runs out."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
import torch

from tests.test_train import SMALL, make_records
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import OutOfMemoryError
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import build_plan
from yoj_cli.records.parse import parse, read_groups
from yoj_cli.scoring.oom import Limits
from yoj_cli.train.data import Example
from yoj_cli.train.losses import LOSSES
from yoj_cli.train.model import build_sequences, load_model
from yoj_cli.train.passes import StepGradients
from yoj_cli.train.starting_point import find_base


def build(groups, *, base=SMALL["base"], mode="multi", **options):
    """A model, and what a step is given of some groups."""
    config = TrainConfig(**SMALL | {"base": str(base), "quant": "none", "mode": mode} | options)
    torch.manual_seed(0)
    model = load_model(config, find_base(config)).train()
    for name, parameter in model.named_parameters():  # B starts at 0, and would leave A without a gradient
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    builder = build_sequences(config, model.backbone)
    examples = []
    for group in groups:
        future: Future[Example] = Future()
        plan = build_plan(len(group.responses), mode=mode)
        future.set_result(Example(group, builder.prepare(group, plan, MediaOptions())))
        examples.append(future)
    return model, examples


def gradients(model, examples, max_tokens, *, loss="ce", forward=None):
    """By parameter, with what was seen and the limit that was left."""
    model.zero_grad(set_to_none=True)
    limits = Limits(max_tokens, 1 << 40)
    step = StepGradients(
        forward=forward or model,
        loss=LOSSES[loss],
        backward=torch.Tensor.backward,
        forget=lambda: model.zero_grad(set_to_none=True),
        limits=limits,
    )
    seen = step.add(examples)
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.requires_grad}
    return found, seen, limits


def distance(one, other):
    """Of the gradients of each matrix, as a share of its norm; the largest.

    A bias that moves all scores alike has no gradient but rounding, and is left out.
    """
    return max(
        float((one[name] - each).norm() / each.norm()) for name, each in other.items() if each.ndim > 1
    )


RELATIVE = 1e-6
"""float32 rounds to 1.2e-7."""


@pytest.fixture
def groups(write_lines, tmp_path):
    """Eight groups of three responses, every other one with a picture, and one much longer."""
    long = {"prompt": "q " * 60, "responses": ["a b c", "d", "e f"], "rankings": [2, 1, 3]}
    return list(read_groups(str(write_lines(*make_records(tmp_path), long))))


@pytest.mark.parametrize(
    ("mode", "loss"), [("multi", "ce"), ("multi", "plackett-luce"), ("single", "bradley-terry")]
)
def test_groups_read_together_give_the_gradients_of_one_at_a_time(groups, mode, loss):
    model, examples = build(groups, mode=mode)
    alone, seen_alone, _ = gradients(model, examples, 1, loss=loss)
    together, seen, _ = gradients(model, examples, 600, loss=loss)
    assert min(each.norm() for each in alone.values()) > 0
    assert distance(alone, together) < RELATIVE
    for field in ("loss", "spread"):
        assert sorted(getattr(each, field) for each in seen) == pytest.approx(
            sorted(getattr(each, field) for each in seen_alone), abs=1e-6
        )


def test_another_family_and_recomputed_activations_give_the_same_gradients(groups, qwen_checkpoint):
    model, examples = build(groups, base=qwen_checkpoint, gradient_checkpointing=True)
    alone, *_ = gradients(model, examples, 1)
    together, *_ = gradients(model, examples, 600)
    assert distance(alone, together) < RELATIVE


def test_a_step_takes_fewer_passes_the_more_tokens_they_hold(groups):
    model, examples = build(groups)
    n_passes = []
    for max_tokens in (1, 600, 10_000):
        n_passes.append(0)

        def forward(sequences):
            n_passes[-1] += 1
            return model(sequences)

        gradients(model, examples, max_tokens, forward=forward)
    assert n_passes[0] == 9
    assert n_passes[0] > n_passes[1] >= n_passes[2] == 2  # text, and text with pictures


def test_memory_that_runs_out_in_the_backward_pass_halves_the_passes_and_counts_nothing_twice(groups):
    model, examples = build(groups)
    wanted, *_ = gradients(model, examples, 1)

    class FullInBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scores, n_rows):
            ctx.n_rows = n_rows
            return scores.clone()

        @staticmethod
        def backward(ctx, gradient):
            if ctx.n_rows > 2:
                raise torch.OutOfMemoryError("no room")
            return gradient, None

    def forward(sequences):
        rows = model(sequences)
        return [[FullInBackward.apply(each, len(rows)) for each in branches] for branches in rows]

    found, seen, limits = gradients(model, examples, 10_000, forward=forward)
    assert limits.have_shrunk
    assert limits.max_batch_tokens < 1000
    assert len(seen) == len(groups)
    assert distance(wanted, found) < RELATIVE


def test_a_group_that_fits_in_no_way_is_named(groups):
    model, examples = build(groups)

    def forward(sequences):
        if max(sequence.n_tokens for sequence in sequences) > 149:
            raise torch.OutOfMemoryError("no room")
        return model(sequences)

    with pytest.raises(OutOfMemoryError, match=r"data.jsonl:9: out of memory on a group of \d+ tokens"):
        gradients(model, examples, 10_000, forward=forward)


def test_what_is_seen_of_a_group_is_worked_by_hand():
    group = parse({"prompt": "p", "responses": ["a", "b", "c"], "rankings": [1, 2, 2]}, where="x:1")
    _, examples = build([group])
    scores = torch.tensor([0.0, 3.0, 0.0], requires_grad=True)
    step = StepGradients(
        forward=lambda sequences: [[scores]],
        loss=LOSSES["ce"],
        backward=torch.Tensor.backward,
        forget=lambda: None,
        limits=Limits(1, 1),
    )
    [seen] = step.add(examples)
    assert seen.constant_loss == pytest.approx(1.0986, abs=1e-4)  # ln 3
    assert seen.loss == pytest.approx(3.0949, abs=1e-4)  # ln(2 + e^3)
    assert (seen.hit, seen.chance) == (0, pytest.approx(1 / 3))
    assert seen.spread == pytest.approx(2**0.5)  # variance (1 + 4 + 1) / 3
