"""The only forward path: sequences go in, one score for each response comes out.

Scoring, timing and serving call `batch_scores`, training `branch_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from yoj_cli.errors import OutOfMemoryError
from yoj_cli.model.attention import build_cached_attention_plan
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import send, translate_oom
from yoj_cli.model.head import ValueHead
from yoj_cli.model.kv_cache import cache_of
from yoj_cli.model.pooling import pool, read_places
from yoj_cli.scoring.batch import Batch, stack
from yoj_cli.scoring.vision_cache import Encoded, VisionFeatureCache, encode, encoder_outputs
from yoj_cli.sequence.packed import PackedSequence

MAX_TOKENS_PER_FORWARD = 8192
"""Branches are read together up to this many tokens; above, a few at a time over the prefix's KV cache.

It bounds memory. On a CPU it costs no time: from 1,000 tokens on, all sizes of a pass are as fast.
"""

Encode: TypeAlias = Callable[[Sequence[PackedSequence]], list[Encoded]]


def branch_scores(
    backbone: Backbone,
    head: ValueHead,
    sequence: PackedSequence,
    *,
    max_tokens_per_forward: int = MAX_TOKENS_PER_FORWARD,
    memory: VisionFeatureCache | None = None,
) -> list[Tensor]:
    """Score every response of every branch.

    Args:
        max_tokens_per_forward: a sequence longer than this is cut by branches, which then share the prefix's KV cache;
            MAX_TOKENS_PER_FORWARD by default.
        memory: where features of pictures and clips are kept for the next layout that shows them.
    Returns:
        For each branch, (responses in it,) float32 scores in the branch's own order.
    Raises:
        OutOfMemoryError: the device has no room for the pass.
    """
    chunks = list(cut_branches(sequence, max_tokens_per_forward))
    if len(chunks) == 1:
        return batch_scores(backbone, head, [sequence], memory=memory)[0]
    with translate_oom(lambda: no_room([sequence])):
        places = read_places(head.config.resp_repr_mode, sequence)
        states = _by_chunks(backbone, sequence, chunks, places, _encoder(backbone, memory))
        return _split(score_states(head, states, places), [sequence])[0]


def batch_scores(
    backbone: Backbone,
    head: ValueHead,
    sequences: Sequence[PackedSequence],
    *,
    memory: VisionFeatureCache | None = None,
) -> list[list[Tensor]]:
    """Score several groups in one pass, each a row of its own.

    Args:
        sequences: groups whose media are of the same kinds.
        memory: as for `branch_scores`.
    Returns:
        For each sequence and each of its branches, (responses in it,) float32 scores.
    Raises:
        OutOfMemoryError: the device has no room for the pass.
    """
    with translate_oom(lambda: no_room(sequences)):
        rows = stack(
            sequences,
            backbone.device,
            bidirectional_media_attention=backbone.family.bidirectional_media_attention,
            mode=head.config.resp_repr_mode,
        )
        states = _one_pass(backbone, rows, _encoder(backbone, memory))
        return _split(score_states(head, states, rows.places), sequences)


def cut_branches(sequence: PackedSequence, max_tokens_per_forward: int) -> Iterator[list[int]]:
    """Branch numbers, as many to a pass as fit beside the prefix; at least one.

    Args:
        max_tokens_per_forward: tokens of the prefix and the branches of one pass.
    """
    if len(sequence.score_positions) == 1:
        yield [0]
        return
    chunk: list[int] = []
    used = sequence.n_prefix
    for branch, count in enumerate(sequence.branch_lengths):
        if chunk and used + count > max_tokens_per_forward:
            yield chunk
            chunk, used = [], sequence.n_prefix
        chunk.append(branch)
        used += count
    yield chunk


def _encoder(backbone: Backbone, memory: VisionFeatureCache | None) -> Encode:
    if memory is None:
        return lambda sequences: encode(backbone, [sequence.media_inputs for sequence in sequences])
    return partial(memory.encode, backbone)


def _one_pass(backbone: Backbone, rows: Batch, encode: Encode) -> Tensor:
    """Hidden states (P, H) of the tokens that the head reads, from one forward pass."""
    arguments: dict[str, Any] = {"input_ids": rows.input_ids, "position_ids": rows.position_ids}
    if rows.attention_plan is not None:
        arguments |= rows.attention_plan.arguments
    if rows.with_media:
        arguments["mm_encoder_outputs"] = encoder_outputs(encode(rows.with_media))
    states: Tensor = backbone.model(**arguments, use_cache=False).last_hidden_state
    if rows.attention_plan is not None:
        rows.attention_plan.check_used(backbone.n_layers)
    return states[rows.read_rows, rows.read_columns]


def _by_chunks(
    backbone: Backbone,
    sequence: PackedSequence,
    chunks: Sequence[list[int]],
    places: Sequence[Sequence[int]],
    encode: Encode,
) -> Tensor:
    """The same hidden states, the prefix computed once and the branches a few at a time over its cache."""
    device, n_prefix = backbone.device, sequence.n_prefix
    ids, positions = send(sequence.input_ids, device), send(sequence.position_ids, device)
    arguments: dict[str, Any] = {
        "input_ids": ids[:, :n_prefix],
        "position_ids": positions[..., :n_prefix],
    }
    if sequence.media_inputs:
        arguments["mm_token_type_ids"] = send(sequence.media_types[:, :n_prefix], device)
        arguments["mm_encoder_outputs"] = encoder_outputs(encode([sequence]))
    prefix = backbone.model(**arguments, use_cache=True)
    cache = cache_of(backbone.model, prefix)
    states: Tensor = prefix.last_hidden_state.new_empty(sequence.n_tokens, backbone.hidden_size)
    states[:n_prefix] = prefix.last_hidden_state[0]
    for chunk in chunks:
        lengths = [sequence.branch_lengths[branch] for branch in chunk]
        start = sequence.branch_starts[chunk[0]]
        own = slice(start, start + sum(lengths))
        attention_plan = build_cached_attention_plan(n_prefix, lengths, device)
        found = backbone.model(
            input_ids=ids[:, own],
            position_ids=positions[..., own],
            **attention_plan.arguments,
            **cache.arguments,
            use_cache=True,
        )
        attention_plan.check_used(backbone.n_layers)
        states[own] = found.last_hidden_state[0]
        cache.states.crop(-sum(lengths))
    return states[send(torch.tensor([place for each in places for place in each]), device)]


def score_states(head: ValueHead, states: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """(responses,) float32 scores from the states (P, H) of the tokens that are read of them; see `read_places`."""
    scores: Tensor = head(pool(head.config.resp_repr_mode, states, places))
    return scores


def _split(scores: Tensor, sequences: Sequence[PackedSequence]) -> list[list[Tensor]]:
    """(responses over all branches of all sequences,) scores, by layout and branch."""
    parts = iter(
        torch.split(
            scores,
            [len(score_positions) for sequence in sequences for score_positions in sequence.score_positions],
        )
    )
    return [[next(parts) for _ in sequence.score_positions] for sequence in sequences]


def no_room(sequences: Sequence[PackedSequence]) -> OutOfMemoryError:
    """That a pass over some groups does not fit on the device."""
    n_tokens = sum(sequence.n_tokens for sequence in sequences)
    what = "a group" if len(sequences) == 1 else f"{len(sequences)} groups"
    return OutOfMemoryError(
        f"out of memory on {what} of {n_tokens} tokens",
        hint="Use --quant 4bit, fewer --orders or a lower --max-tokens, or free the GPU.",
    )
