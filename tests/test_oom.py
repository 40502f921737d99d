"""Memory that runs out: what is freed, what is tried next, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import weakref

import pytest
import torch

from tests.conftest import PARITY
from tests.processes import environment
from tests.test_engine import MOLMO2, TOLERANCE, build_sequences, engine_of, score, score_all
from tests.test_judge import random_texts
from yoj_cli.errors import OutOfMemoryError
from yoj_cli.groups import Failure
from yoj_cli.records.parse import parse
from yoj_cli.scoring.engine import Scored
from yoj_cli.scoring.vision_cache import VisionFeatureCache

LONG = " ".join(map(str, range(700)))  # over 500 tokens


class Cramped(torch.nn.Module):
    """A backbone on a device with room for so many tokens at a time; more fail with half of the work done."""

    def __init__(self, model, n_tokens):
        super().__init__()
        self.model, self.n_tokens = model, n_tokens
        self.config = model.config
        self.held = []

    def alive(self):
        """Whether a tensor of a failed pass is still there."""
        return any(each() is not None for each in self.held)

    def forward(self, input_ids, **arguments):
        if input_ids.numel() > self.n_tokens:
            half_done = torch.zeros(input_ids.shape)
            self.held.append(weakref.ref(half_done))
            raise torch.OutOfMemoryError(f"{input_ids.numel()} tokens")
        return self.model(input_ids=input_ids, **arguments)


def test_out_of_memory_halves_the_batches_and_goes_on(judges):
    judge = judges(MOLMO2)
    sequences = build_sequences(
        judge, [parse({"prompt": "p", "responses": random_texts(2, seed=i)}) for i in range(16)]
    )
    longest = max(sequence.n_tokens for sequence in sequences)
    engine = engine_of(judge, 16 * longest, Cramped(judge.backbone.model, 3 * longest))
    for found, wanted in zip(score(engine, sequences), score(engine_of(judge), sequences), strict=True):
        assert found == pytest.approx(wanted, abs=TOLERANCE)
    assert engine.limits.max_batch_tokens <= 4 * longest
    n_before = engine.usage.n_passes
    score(engine, sequences)  # the second time fits at once, or nearly
    assert engine.usage.n_passes - n_before <= 16


def test_a_group_that_does_not_fit_is_read_by_branches(judges):
    judge = judges(MOLMO2, mode="single")
    (sequence,) = build_sequences(judge, [parse({"prompt": "p" * 50, "responses": random_texts(8, seed=1)})])
    cramped = Cramped(judge.backbone.model, sequence.n_tokens // 2)
    engine = engine_of(judge, 4096, cramped)
    assert score(engine, [sequence])[0] == pytest.approx(
        score(engine_of(judge), [sequence])[0], abs=TOLERANCE
    )
    assert engine.limits.max_tokens_per_forward < sequence.n_tokens


def test_a_group_that_fits_in_no_way_fails_alone(judges):
    judge = judges(MOLMO2, mode="single")
    groups = [parse({"prompt": LONG if i == 1 else "short", "responses": ["a", "b"]}) for i in range(3)]
    engine = engine_of(judge, 4096, Cramped(judge.backbone.model, 500))
    found = score_all(engine, build_sequences(judge, groups))
    assert isinstance(found[1], OutOfMemoryError)
    assert isinstance(found[0], Scored)
    assert isinstance(found[2], Scored)
    assert engine.limits.max_tokens_per_forward == engine_of(judge).limits.max_tokens_per_forward


def test_a_group_without_room_is_a_failure_in_its_place(judges, monkeypatch):
    judge = judges(MOLMO2, max_batch_tokens=4095)
    monkeypatch.setattr(judge, "engine", engine_of(judge, 4095, Cramped(judge.backbone.model, 500)))
    groups = [
        parse({"prompt": LONG if i == 1 else "short", "responses": ["a"]}, where=f"f:{i}") for i in range(3)
    ]
    found = list(judge.score_groups(groups))
    assert [isinstance(item, Failure) for item in found] == [False, True, False]
    assert str(found[1].error).startswith("f:1: out of memory on a group of ")


class Watched(VisionFeatureCache):
    """A cache that looks, whenever it is cleared, at what failed passes have left behind."""

    def __init__(self, engine, cramped):
        super().__init__()
        self.engine, self.cramped, self.n_cleared = engine, cramped, 0

    def clear(self):
        super().clear()
        self.n_cleared += 1
        assert self.engine._lock.locked()
        assert not self.cramped.alive()


def watch(engine):
    engine.vision_cache = Watched(engine, engine.backbone.model)
    return engine


@pytest.mark.parametrize("n_groups", [1, 8])
def test_a_failed_pass_is_freed_before_the_next_one_and_under_the_lock(judges, n_groups):
    judge = judges(MOLMO2, mode="single")
    sequences = build_sequences(
        judge, [parse({"prompt": "p", "responses": random_texts(6, seed=i)}) for i in range(n_groups)]
    )
    room = max(sequence.n_tokens for sequence in sequences) * 2 // 3 * (1 if n_groups == 1 else 3)
    engine = watch(engine_of(judge, 4096, Cramped(judge.backbone.model, room)))
    score(engine, sequences)
    assert engine.vision_cache.n_cleared > 0


def test_the_error_of_a_group_that_does_not_fit_holds_no_tensors(judges):
    judge = judges(MOLMO2)
    engine = watch(engine_of(judge, 4096, Cramped(judge.backbone.model, 1)))
    (sequence,) = build_sequences(judge, [parse({"prompt": "p", "responses": ["a"]})])
    (error,) = engine.score([sequence])
    assert isinstance(error, OutOfMemoryError)
    assert error.__traceback__ is not None  # it can still be said where it happened
    assert not engine.backbone.model.alive()


SCORE_WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from yoj_cli import Judge

judge = Judge.load(sys.argv[1], device="cpu", quant="none", dtype="float32", mode="single")
responses = [" ".join(f"w{i * j % 97}" for j in range(150)) for i in range(100)]
judge.score(prompt="p", responses=responses[:2])
judge.engine.limits.max_tokens_per_forward = 10**6  # all in one pass, for its need of memory
if sys.argv[2] != "all":
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), -1))
print(judge.score(prompt="p", responses=responses).scores, file=sys.stderr)
print(judge.engine.limits.max_tokens_per_forward)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory by what /proc says")
def test_a_group_that_finds_too_little_memory_on_a_cpu_is_read_by_fewer_branches_at_a_time():
    found = {}
    for memory in ("all", "60000000"):
        done = subprocess.run(
            [sys.executable, "-c", SCORE_WITH_LITTLE_MEMORY, str(PARITY / "checkpoint"), memory],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        found[memory] = int(done.stdout), ast.literal_eval(done.stderr.splitlines()[-1])
    assert found["60000000"][0] < found["all"][0]
    assert found["60000000"][1] == pytest.approx(found["all"][1], abs=1e-4)
