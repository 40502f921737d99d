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
from yoj_cli.inputs.media import MediaOptions
from yoj_cli.inputs.records import parse
from yoj_cli.judge import attention
from yoj_cli.judge.attention import attend, see_cached, see_rows
from yoj_cli.judge.layout import Layout
from yoj_cli.judge.scorer import branch_scores

CPU = torch.device("cpu")
HEADS, KEY_HEADS, DIM = 4, 2, 8
MODULE = SimpleNamespace(num_key_value_groups=HEADS // KEY_HEADS, is_causal=True)


def make_layout(n_prefix, lengths, media=range(0)):
    """Only what attention looks at: where the prefix, the branches and the media stand."""
    n_tokens = n_prefix + sum(lengths)
    types = torch.zeros(1, n_tokens, dtype=torch.int64)
    types[0, list(media)] = 1
    ids = torch.zeros(1, n_tokens, dtype=torch.int64)
    return Layout(ids, ids, types, tuple(lengths), (((0, 0),),) * len(lengths), {}, n_prefix)


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


def is_text(layouts):
    """(B, T) bool: tokens that are no padding."""
    length = max(layout.n_tokens for layout in layouts)
    return torch.arange(length) < torch.tensor([layout.n_tokens for layout in layouts])[:, None]


CASES = {
    "one branch with media": [make_layout(0, [20], range(2, 9))],
    "three branches": [make_layout(7, [5, 4, 6])],
    "three branches behind media": [make_layout(9, [5, 4, 6], range(1, 8))],
    "branches of very different lengths": [make_layout(6, [1, 40, 2, 3, 17, 1])],
    "media that end in the middle of the prefix": [make_layout(12, [3, 3], [2, 3, 7])],
    "rows of different lengths": [make_layout(0, [20], range(5)), make_layout(0, [8], range(3))],
    "rows with different prefixes": [
        make_layout(7, [5, 4]),
        make_layout(3, [2, 2, 2, 2]),
        make_layout(12, [1, 9]),
    ],
    "one branch beside several": [make_layout(0, [25], range(1, 9)), make_layout(4, [3, 3], range(3))],
    "media beyond another row's prefix": [
        make_layout(20, [3, 3], range(1, 18)),
        make_layout(4, [6, 7], range(3)),
    ],
    "no prefix at all": [make_layout(0, [3, 5])],
}


@pytest.mark.parametrize("media_sees_itself", [False, True])
@pytest.mark.parametrize("layouts", CASES.values(), ids=CASES)
def test_a_pass_attends_as_the_dense_mask_says(layouts, media_sees_itself):
    sight = see_rows(layouts, CPU, media_sees_itself=media_sees_itself)
    states = draw_states(len(layouts), max(layout.n_tokens for layout in layouts))
    wanted = attend_densely(*states, dense_mask(layouts, media_sees_itself=media_sees_itself))
    found, _ = attend(MODULE, *states, None, sight=sight)
    text = is_text(layouts)
    torch.testing.assert_close(found[text], wanted[text])


@pytest.mark.parametrize("layouts", CASES.values(), ids=CASES)
def test_gradients_are_those_of_the_dense_mask(layouts):
    text = is_text(layouts)
    gradients = []
    for by_branches in (True, False):
        states = [each.requires_grad_() for each in draw_states(len(layouts), text.shape[1])]
        if by_branches:
            sight = see_rows(layouts, CPU, media_sees_itself=True)
            found = attend(MODULE, *states, None, sight=sight)[0]
        else:
            found = attend_densely(*states, dense_mask(layouts, media_sees_itself=True))
        weights = torch.linspace(-1, 1, found[text].numel()).reshape(found[text].shape)
        gradients.append(torch.autograd.grad((found[text] * weights).sum(), states))
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("seed", range(5))
def test_branches_over_a_cached_prefix_attend_as_beside_it(seed):
    rng = random.Random(seed)
    layout = make_layout(rng.randint(1, 30), [rng.randint(1, 40) for _ in range(rng.randint(2, 6))])
    query, key, value = draw_states(1, layout.n_tokens, seed)
    beside, _ = attend(MODULE, query, key, value, None, sight=see_rows([layout], CPU, media_sees_itself=True))
    sight = see_cached(layout.n_prefix, layout.branch_lengths, CPU)
    found, _ = attend(MODULE, query[:, :, layout.n_prefix :], key, value, None, sight=sight)
    torch.testing.assert_close(found, beside[:, layout.n_prefix :])


def test_padding_is_a_number_in_every_layer():
    """A mask hides padding by multiplying it with nothing: what is no number would come through."""
    layouts = [make_layout(12, [9, 9]), make_layout(2, [2, 2])]
    sight = see_rows(layouts, CPU, media_sees_itself=True)
    states = draw_states(2, 30)
    for _ in range(20):
        torch.full((2, 30, HEADS, DIM), torch.nan)  # what memory may hold when it is asked for next
        found, _ = attend(MODULE, *states, None, sight=sight)
        assert not found.isnan().any()


def test_a_text_without_branches_and_media_needs_no_sight():
    layouts = [make_layout(0, [20]), make_layout(0, [7])]
    assert see_rows(layouts, CPU, media_sees_itself=True) is None
    assert see_rows([make_layout(0, [20], range(3))], CPU, media_sees_itself=False) is None


@pytest.mark.parametrize("seed", range(10))
def test_every_branch_is_in_one_bunch_and_padded_to_less_than_twice_its_length(seed, monkeypatch):
    monkeypatch.setattr(attention, "BUNCH_KEYS", 300)
    rng = random.Random(seed)
    layouts = [
        make_layout(rng.randint(1, 50), [rng.randint(1, 200) for _ in range(rng.randint(2, 9))])
        for _ in range(3)
    ]
    bunches = see_rows(layouts, CPU, media_sees_itself=True).bunches
    starts = [(int(b.rows[i]), int(b.columns[i, 0])) for b in bunches for i in range(len(b.rows))]
    assert sorted(starts) == sorted(
        (row, s) for row, layout in enumerate(layouts) for s in layout.branch_starts
    )
    assert sum(len(bunch.places) for bunch in bunches) == sum(
        sum(layout.branch_lengths) for layout in layouts
    )
    for bunch in bunches:
        lengths = [len(set(columns.tolist())) for columns in bunch.columns]
        assert max(lengths) < 2 * min(lengths)
        assert len(lengths) == 1 or len(lengths) * (bunch.n_prefix + max(lengths)) <= 300


def score(judge, responses):
    layout = judge.prepare(parse({"prompt": "p", "responses": responses}), MediaOptions())[1]
    with torch.inference_mode():
        return [
            float(score) for branch in branch_scores(judge.backbone, judge.head, layout) for score in branch
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
    with pytest.raises(ModelError, match="looks through a window of 64 tokens"):
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
