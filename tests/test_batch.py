"""Groups side by side in one pass: which ones, and that padding changes nothing."""

from __future__ import annotations

import random

import pytest
import torch

from tests.conftest import PARITY
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import parse
from yoj_cli.scoring.batch import bucket_by_length, collate

MOLMO2 = PARITY / "checkpoint"
CPU = torch.device("cpu")


def build(judge, **record):
    return judge.prepare(parse(record), MediaOptions())[1]


@pytest.mark.parametrize("seed", range(20))
def test_every_group_is_read_once_with_its_own_kind_and_within_the_budget(seed):
    rng = random.Random(seed)
    n = rng.randint(1, 40)
    lengths = [rng.randint(1, 300) for _ in range(n)]
    kinds = [rng.choice([(), ("pixel_values",)]) for _ in range(n)]
    budget = rng.choice([1, 100, 500, 10_000])
    batches = bucket_by_length(lengths, kinds, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(n))
    for batch in batches:
        assert len({kinds[index] for index in batch}) == 1
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget
    assert 0 in batches[0]


def test_groups_of_like_lengths_are_read_together():
    assert bucket_by_length([10, 100, 11, 101, 9], [()] * 5, 202) == [[4, 0, 2], [1, 3]]


def test_a_budget_of_one_token_reads_every_group_alone():
    assert bucket_by_length([5, 1, 5], [()] * 3, 1) == [[0], [1], [2]]


@pytest.mark.parametrize("family", ["molmo2", "qwen3_vl"])
def test_padding_counts_on(judges, request, family):
    judge = judges(MOLMO2 if family == "molmo2" else request.getfixturevalue("qwen_checkpoint"))
    short, long = (
        build(judge, prompt="p", responses=["a"]),
        build(judge, prompt="p", responses=["a longer one"]),
    )
    rows = collate([short, long], CPU, bidirectional_media_attention=True)
    n = short.n_tokens
    assert rows.input_ids[0, :n].tolist() == short.input_ids[0].tolist()
    assert rows.input_ids[1].tolist() == long.input_ids[0].tolist()
    assert set(rows.input_ids[0, n:].tolist()) == {int(short.input_ids[0, -1])}
    steps = rows.position_ids.reshape(-1, 2, long.n_tokens)[:, 0].diff()
    assert steps.unique().tolist() == [1]


def test_ends_are_read_in_their_own_rows(judges):
    judge = judges(MOLMO2, mode="single")
    sequences = [build(judge, prompt="p", responses=["a", "bcd"]), build(judge, prompt="q", responses=["e"])]
    rows = collate(sequences, CPU, bidirectional_media_attention=True)
    assert rows.pooled_rows.tolist() == [0, 0, 1]
    assert rows.pooled_columns.tolist() == [
        end
        for sequence in sequences
        for score_positions in sequence.score_positions
        for end in score_positions
    ]
