"""The ways to read a group that are compared.

(a) and (d) to (f) are the scorer's own forward path, and so is (c) one by one. (b), (c) in a batch and (g) are
baselines, used nowhere else: what one would write without a sequence of branches, and what the official code does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from yoj_cli.bench.case import Case
from yoj_cli.bench.flops import Work, attended_pairs, causal_pairs, media_pairs
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import ValueHead
from yoj_cli.model.kv_cache import cache_of
from yoj_cli.model.pooling import pooled_tokens
from yoj_cli.plan.join import join
from yoj_cli.scoring.forward import branch_scores, score_states
from yoj_cli.scoring.vision_cache import encode, encoder_outputs
from yoj_cli.sequence.packed import PackedSequence


@dataclass(frozen=True)
class Subject:
    """What reads: a backbone, a value head, and for (g) the LM head that no score uses."""

    backbone: Backbone
    head: ValueHead
    lm_head: nn.Module

    @classmethod
    def build(cls, backbone: Backbone, head: ValueHead) -> Subject:
        """Put a random LM head beside a judge: what it costs does not depend on its values."""
        text = backbone.text_config
        lm_head = nn.Linear(
            text.hidden_size, text.vocab_size, bias=False, device=backbone.device, dtype=backbone.dtype
        )
        return cls(backbone, head, lm_head.requires_grad_(False))


@dataclass(frozen=True)
class Variant:
    """One way to read a group.

    Attributes:
        key: the letter it goes by; `c1` and `c2` are two ways to do (c).
        read: a group's scores, one for each response in its own order.
        work: what goes through the model, by counting tokens.
        equals: the variant whose scores these must be; None for the first of its kind and for (f).
    """

    key: str
    name: str
    read: Callable[[Subject, Case], list[float]]
    work: Callable[[Subject, Case], Work]
    equals: str | None = None


def read_alone(subject: Subject, case: Case) -> list[float]:
    """(a): one pass per response, one after the other, its picture encoded each time: the paper's baseline."""
    found = [branch_scores(subject.backbone, subject.head, sequence)[0] for sequence in case.alone]
    return _to_list(found)


def read_padded(subject: Subject, case: Case) -> list[float]:
    """(b): all responses in one batch, padded on the right; the picture is encoded once for all rows.

    No token attends to the padding after it, so the batch needs no mask, and the fastest attention kernels apply.
    """
    backbone, device = subject.backbone, subject.backbone.device
    arguments: dict[str, Any] = {
        "input_ids": _pad([sequence.input_ids[0] for sequence in case.alone]).to(device),
        "position_ids": _pad_positions([sequence.position_ids for sequence in case.alone]).to(device),
    }
    if case.alone[0].media_inputs:
        encoded = encode(backbone, [case.alone[0].media_inputs])
        arguments["mm_encoder_outputs"] = encoder_outputs(encoded * case.n)
        arguments["mm_token_type_ids"] = _pad([sequence.media_types[0] for sequence in case.alone]).to(device)
    states = backbone.model(**arguments, use_cache=False).last_hidden_state
    places = [_places(subject, sequence)[0] for sequence in case.alone]
    return _read_rows(subject, states, places)


def read_over_cache(subject: Subject, case: Case) -> list[float]:
    """(c) one by one: the prefix once, then each response over its KV cache."""
    return _to_list(branch_scores(subject.backbone, subject.head, case.single, max_tokens_per_forward=1))


def read_batch_over_cache(subject: Subject, case: Case) -> list[float]:
    """(c) in a batch: the prefix once, its KV cache repeated, and the padded responses over it together."""
    backbone, sequence = subject.backbone, case.single
    if case.n == 1:
        return read_alone(subject, case)
    n_prefix = sequence.n_prefix
    prefix = backbone.model(**_inputs(backbone, sequence, n_prefix), use_cache=True)
    cache = cache_of(backbone.model, prefix)
    cache.states.batch_repeat_interleave(case.n)
    rows = [
        slice(start, start + length)
        for start, length in zip(sequence.branch_starts, sequence.branch_lengths, strict=True)
    ]
    states = backbone.model(
        input_ids=_pad([sequence.input_ids[0, row] for row in rows]).to(backbone.device),
        position_ids=_pad_positions([sequence.position_ids[..., row] for row in rows]).to(backbone.device),
        **cache.arguments,
        use_cache=True,
    ).last_hidden_state
    places = _places(subject, sequence)
    shifts: Sequence[int] = sequence.branch_starts
    if (
        min(min(each) for each in places) < n_prefix
    ):  # a head that reads first tokens, and some that all share
        states = torch.cat([prefix.last_hidden_state.expand(case.n, -1, -1), states], dim=1)
        shifts = [start - n_prefix for start in shifts]
    own = [
        [place - shift if place >= n_prefix else place for place in each]
        for each, shift in zip(places, shifts, strict=True)
    ]
    return _read_rows(subject, states, own)


def read_single(subject: Subject, case: Case) -> list[float]:
    """(d): each response in a branch of its own, as `yoj score --mode single` reads them."""
    return _to_list(_as_scored(subject, case.single))


def read_multi(subject: Subject, case: Case) -> list[float]:
    """(e): all responses in one branch: the paper."""
    return _to_list(_as_scored(subject, case.multi))


def read_orders(subject: Subject, case: Case) -> list[float]:
    """(f): several orders of all responses as `yoj score --orders` reads them, joined to one score for each."""
    found = _as_scored(subject, case.orders)
    return list(join(case.plan, [branch.tolist() for branch in found])[0])


def read_as_official(subject: Subject, case: Case) -> list[float]:
    """(g): (e) as the official code runs it: every layer's states kept, and logits for every token."""
    backbone, sequence = subject.backbone, case.multi
    found = backbone.model(
        **_inputs(backbone, sequence, sequence.n_tokens), use_cache=False, output_hidden_states=True
    )
    logits = subject.lm_head(found.last_hidden_state)
    states = found.hidden_states[-1]
    places = _places(subject, sequence)
    read = states[0, [place for each in places for place in each]]
    scores: list[float] = score_states(subject.head, read, places).tolist()
    del logits  # held until here, as there
    return scores


def work_alone(subject: Subject, case: Case) -> Work:
    """(a): every token of every response's own pass."""
    works = [_work(subject, sequence) for sequence in case.alone]
    return Work(sum(w.tokens for w in works), sum(w.pairs for w in works), sum(w.encodings for w in works))


def work_padded(subject: Subject, case: Case) -> Work:
    """(b): as many rows of the longest response's length."""
    longest = max(sequence.n_tokens for sequence in case.alone)
    both_ways = media_pairs(case.alone[0]) if subject.backbone.family.bidirectional_media_attention else 0
    return Work(
        case.n * longest, case.n * (causal_pairs(longest) + both_ways), int(_has_media(case.alone[0]))
    )


def work_batch_over_cache(subject: Subject, case: Case) -> Work:
    """(c) in a batch: the prefix, and as many rows of the longest branch's length."""
    sequence = case.single
    if case.n == 1:
        return work_alone(subject, case)
    longest = max(sequence.branch_lengths)
    both_ways = media_pairs(sequence) if subject.backbone.family.bidirectional_media_attention else 0
    pairs = causal_pairs(sequence.n_prefix) + both_ways + case.n * causal_pairs(longest, sequence.n_prefix)
    return Work(sequence.n_prefix + case.n * longest, pairs, int(_has_media(sequence)))


def work_as_official(subject: Subject, case: Case) -> Work:
    """(g): as (e), and logits for every token."""
    work = _work(subject, case.multi)
    return Work(work.tokens, work.pairs, work.encodings, logits=work.tokens)


VARIANTS = (
    Variant("a", "one pass per response", read_alone, work_alone),
    Variant("b", "one padded batch", read_padded, work_padded, equals="a"),
    Variant("c1", "cached prefix, one by one", read_over_cache, lambda s, c: _work(s, c.single), "a"),
    Variant("c2", "cached prefix, then a batch", read_batch_over_cache, work_batch_over_cache, "a"),
    Variant("d", "single, packed", read_single, lambda s, c: _work(s, c.single), equals="a"),
    Variant("e", "multi in one pass", read_multi, lambda s, c: _work(s, c.multi)),
    Variant("f", "multi, orders packed", read_orders, lambda s, c: _work(s, c.orders)),
    Variant("g", "multi, official forward", read_as_official, work_as_official, equals="e"),
)
"""In the order in which they take turns."""


def _as_scored(subject: Subject, sequence: PackedSequence) -> list[Tensor]:
    """In one pass, or in several over the prefix's cache where that is faster; one branch is always one pass."""
    return branch_scores(subject.backbone, subject.head, sequence)


def _inputs(backbone: Backbone, sequence: PackedSequence, n_tokens: int) -> dict[str, Tensor]:
    """The model's arguments for the first tokens of a sequence, which hold all of its media."""
    tensors = {
        "input_ids": sequence.input_ids[:, :n_tokens],
        "position_ids": sequence.position_ids[..., :n_tokens],
        **sequence.media_inputs,
    }
    if sequence.media_inputs:
        tensors["mm_token_type_ids"] = sequence.media_types[:, :n_tokens]
    return {name: tensor.to(backbone.device) for name, tensor in tensors.items()}


def _pad(rows: list[Tensor]) -> Tensor:
    """(N, T) of rows of (T_i,), zeros on the right."""
    return pad_sequence(rows, batch_first=True)


def _pad_positions(rows: list[Tensor]) -> Tensor:
    """(N, T) of rows of (1, T_i), or (3, N, T) of rows of (3, 1, T_i).

    They count on over the padding: positions that start again would be taken for several packed sequences.
    """
    longest = max(row.shape[-1] for row in rows)
    more = [torch.arange(1, longest - row.shape[-1] + 1) + row[..., -1:] for row in rows]
    return torch.cat([torch.cat(pair, dim=-1) for pair in zip(rows, more, strict=True)], dim=-2)


def _places(subject: Subject, sequence: PackedSequence) -> list[Sequence[int]]:
    """Which tokens' states the head reads of each response."""
    return pooled_tokens(subject.head.config.resp_repr_mode, sequence)


def _read_rows(subject: Subject, states: Tensor, places: Sequence[Sequence[int]]) -> list[float]:
    """Scores from (N, T, H) states, of one response in each row."""
    rows = [row for row, each in enumerate(places) for _ in each]
    read = states[rows, [place for each in places for place in each]]
    return list(score_states(subject.head, read, places).tolist())


def _to_list(branches: list[Tensor]) -> list[float]:
    return [float(score) for score in torch.cat(branches).tolist()]


def _work(subject: Subject, sequence: PackedSequence) -> Work:
    pairs = attended_pairs(
        sequence, bidirectional_media_attention=subject.backbone.family.bidirectional_media_attention
    )
    return Work(sequence.n_tokens, pairs, int(_has_media(sequence)))


def _has_media(sequence: PackedSequence) -> bool:
    return bool(sequence.media_inputs)
