"""Attention by branches: equal to a dense mask, in scores and in gradients, and refused where it cannot be."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from tests.adapters import make_text_only
from tests.masks import dense_mask
from yoj_cli import Judge
from yoj_cli.errors import ModelError
from yoj_cli.media.options import MediaOptions
from yoj_cli.model import attention
from yoj_cli.model.attention import attend, build_attention_plan, build_cached_attention_plan
from yoj_cli.records.parse import parse
from yoj_cli.scoring.forward import branch_scores
from yoj_cli.sequence.packed import PackedSequence

CPU = torch.device("cpu")
HEADS, KEY_HEADS, DIM = 4, 2, 8
MODULE = SimpleNamespace(num_key_value_groups=HEADS // KEY_HEADS, is_causal=True)


def make_sequence(n_prefix, lengths, media=range(0)):
    """Only what attention looks at: where the prefix, the branches and the media stand."""
    n_tokens = n_prefix + sum(lengths)
    types = torch.zeros(1, n_tokens, dtype=torch.int64)
    types[0, list(media)] = 1
    ids = torch.zeros(1, n_tokens, dtype=torch.int64)
    return PackedSequence(ids, ids, types, tuple(lengths), (((0, 0),),) * len(lengths), {}, n_prefix)


def draw_states(n_rows, n_tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(n_rows, heads, n_tokens, DIM, generator=generator)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def attend_densely(query, key, value, mask):
    """(B, T, heads, D), every token against every other one."""
    key, value = (states.repeat_interleave(HEADS // KEY_HEADS, dim=1) for states in (key, value))
    scores = (query @ key.transpose(-1, -2) / DIM**0.5).masked_fill(~mask[:, None], -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def is_text(sequences):
    """(B, T) bool: tokens that are no padding."""
    length = max(sequence.n_tokens for sequence in sequences)
    return torch.arange(length) < torch.tensor([sequence.n_tokens for sequence in sequences])[:, None]


CASES = {
    "one branch with media": [make_sequence(0, [20], range(2, 9))],
    "three branches": [make_sequence(7, [5, 4, 6])],
    "three branches behind media": [make_sequence(9, [5, 4, 6], range(1, 8))],
    "branches of very different lengths": [make_sequence(6, [1, 40, 2, 3, 17, 1])],
    "media that end in the middle of the prefix": [make_sequence(12, [3, 3], [2, 3, 7])],
    "rows of different lengths": [make_sequence(0, [20], range(5)), make_sequence(0, [8], range(3))],
    "rows with different prefixes": [
        make_sequence(7, [5, 4]),
        make_sequence(3, [2, 2, 2, 2]),
        make_sequence(12, [1, 9]),
    ],
    "one branch beside several": [make_sequence(0, [25], range(1, 9)), make_sequence(4, [3, 3], range(3))],
    "media beyond another row's prefix": [
        make_sequence(20, [3, 3], range(1, 18)),
        make_sequence(4, [6, 7], range(3)),
    ],
    "no prefix at all": [make_sequence(0, [3, 5])],
}


@pytest.mark.parametrize("bidirectional_media_attention", [False, True])
@pytest.mark.parametrize("sequences", CASES.values(), ids=CASES)
def test_a_pass_attends_as_the_dense_mask_says(sequences, bidirectional_media_attention):
    attention_plan = build_attention_plan(
        sequences, CPU, bidirectional_media_attention=bidirectional_media_attention
    )
    states = draw_states(len(sequences), max(sequence.n_tokens for sequence in sequences))
    wanted = attend_densely(
        *states, dense_mask(sequences, bidirectional_media_attention=bidirectional_media_attention)
    )
    found, _ = attend(MODULE, *states, None, attention_plan=attention_plan)
    text = is_text(sequences)
    torch.testing.assert_close(found[text], wanted[text])


@pytest.mark.parametrize("sequences", CASES.values(), ids=CASES)
def test_gradients_are_those_of_the_dense_mask(sequences):
    text = is_text(sequences)
    gradients = []
    for by_branches in (True, False):
        states = [each.requires_grad_() for each in draw_states(len(sequences), text.shape[1])]
        if by_branches:
            attention_plan = build_attention_plan(sequences, CPU, bidirectional_media_attention=True)
            found = attend(MODULE, *states, None, attention_plan=attention_plan)[0]
        else:
            found = attend_densely(*states, dense_mask(sequences, bidirectional_media_attention=True))
        weights = torch.linspace(-1, 1, found[text].numel()).reshape(found[text].shape)
        gradients.append(torch.autograd.grad((found[text] * weights).sum(), states))
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("seed", range(5))
def test_branches_over_a_cached_prefix_attend_as_beside_it(seed):
    rng = random.Random(seed)
    sequence = make_sequence(rng.randint(1, 30), [rng.randint(1, 40) for _ in range(rng.randint(2, 6))])
    query, key, value = draw_states(1, sequence.n_tokens, seed)
    beside, _ = attend(
        MODULE,
        query,
        key,
        value,
        None,
        attention_plan=build_attention_plan([sequence], CPU, bidirectional_media_attention=True),
    )
    attention_plan = build_cached_attention_plan(sequence.n_prefix, sequence.branch_lengths, CPU)
    found, _ = attend(
        MODULE, query[:, :, sequence.n_prefix :], key, value, None, attention_plan=attention_plan
    )
    torch.testing.assert_close(found, beside[:, sequence.n_prefix :])


def test_padding_is_a_number_in_every_layer():
    """A mask hides padding by multiplying it with nothing: what is no number would come through."""
    sequences = [make_sequence(12, [9, 9]), make_sequence(2, [2, 2])]
    attention_plan = build_attention_plan(sequences, CPU, bidirectional_media_attention=True)
    states = draw_states(2, 30)
    for _ in range(20):
        torch.full((2, 30, HEADS, DIM), torch.nan)  # what memory may hold when it is asked for next
        found, _ = attend(MODULE, *states, None, attention_plan=attention_plan)
        assert not found.isnan().any()


def test_a_text_without_branches_and_media_needs_no_plan():
    sequences = [make_sequence(0, [20]), make_sequence(0, [7])]
    assert build_attention_plan(sequences, CPU, bidirectional_media_attention=True) is None
    assert (
        build_attention_plan([make_sequence(0, [20], range(3))], CPU, bidirectional_media_attention=False)
        is None
    )


@pytest.mark.parametrize("seed", range(10))
def test_every_branch_is_in_one_bunch_and_padded_to_less_than_twice_its_length(seed, monkeypatch):
    monkeypatch.setattr(attention, "BUCKET_KEYS", 300)
    rng = random.Random(seed)
    sequences = [
        make_sequence(rng.randint(1, 50), [rng.randint(1, 200) for _ in range(rng.randint(2, 9))])
        for _ in range(3)
    ]
    buckets = build_attention_plan(sequences, CPU, bidirectional_media_attention=True).buckets
    starts = [(int(b.rows[i]), int(b.columns[i, 0])) for b in buckets for i in range(len(b.rows))]
    assert sorted(starts) == sorted(
        (row, s) for row, sequence in enumerate(sequences) for s in sequence.branch_starts
    )
    assert sum(len(bucket.unpadded) for bucket in buckets) == sum(
        sum(sequence.branch_lengths) for sequence in sequences
    )
    for bucket in buckets:
        lengths = [len(set(columns.tolist())) for columns in bucket.columns]
        assert max(lengths) < 2 * min(lengths)
        assert len(lengths) == 1 or len(lengths) * (bucket.n_prefix + max(lengths)) <= 300


def score(judge, responses):
    sequence = judge.prepare(parse({"prompt": "p", "responses": responses}), MediaOptions())[1]
    with torch.inference_mode():
        return [
            float(score) for branch in branch_scores(judge.backbone, judge.head, sequence) for score in branch
        ]


def load(folder, donor, architecture, mode="single", **options):
    made = make_text_only(folder / architecture, donor, architecture, **options)
    return Judge.load(str(made), device="cpu", quant="none", dtype="float32", mode=mode)


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "mistral", "gemma", "gpt_neox", "phi3"])
def test_any_decoder_reads_branches_as_separate_passes(tmp_path, qwen_checkpoint, architecture):
    options = {"pad_token_id": None} if architecture == "phi3" else {}
    judge = load(tmp_path, qwen_checkpoint, architecture, **options)
    responses = ["one", "two and three", "four " * 9]
    alone = [score(judge, [response])[0] for response in responses]
    assert score(judge, responses) == pytest.approx(alone, abs=1e-5)
    assert len({round(value, 4) for value in alone}) == 3


def test_a_decoder_that_looks_through_a_window_reads_what_fits_it_and_refuses_the_rest(
    tmp_path, qwen_checkpoint
):
    judge = load(tmp_path, qwen_checkpoint, "mistral", sliding_window=64)
    short = ["a", "b c"]
    assert score(judge, short) == pytest.approx([score(judge, [each])[0] for each in short], abs=1e-5)
    with pytest.raises(ModelError, match="has sliding-window attention over 64 tokens"):
        score(judge, ["word " * 60, "other " * 60])


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("stablelm", {}),  # hands nothing on to its attention
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention"]}),  # half of it is recurrent
    ],
)
def test_a_decoder_that_cannot_keep_branches_apart_says_so(tmp_path, qwen_checkpoint, architecture, options):
    judge = load(tmp_path, qwen_checkpoint, architecture, **options)
    with pytest.raises(ModelError, match=r"this architecture .* keep branches apart"):
        score(judge, ["a", "b"])
    assert len(score(judge, ["a"])) == 1
