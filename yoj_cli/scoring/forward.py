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
from yoj_cli.model.pooling import pool, pooled_tokens
from yoj_cli.scoring.batch import Batch, collate
from yoj_cli.scoring.vision_cache import Encoded, VisionFeatureCache, encode, encoder_outputs
from yoj_cli.sequence.packed import PackedSequence

MAX_TOKENS_PER_FORWARD = 8192
"""Branches are read together up to this many tokens; of a longer sequence a few at a time, over the prefix's KV cache.

It bounds memory. On a CPU it costs no time: from 1,000 tokens on, a pass of any size reads as many tokens a second.
"""

Encode: TypeAlias = Callable[[Sequence[PackedSequence]], list[Encoded]]
"""Vision features of some sequences, computed or from a cache."""


def branch_scores(
    backbone: Backbone,
    head: ValueHead,
    sequence: PackedSequence,
    *,
    max_tokens_per_forward: int = MAX_TOKENS_PER_FORWARD,
    vision_cache: VisionFeatureCache | None = None,
) -> list[Tensor]:
    """Score every response of every branch of one group.

    Args:
        max_tokens_per_forward: a sequence longer than this is read a few branches at a time, over the KV cache of
            their prefix.
        vision_cache: features of pictures and clips that were encoded before; None encodes them in any case.
    Returns:
        For each branch, (responses in it,) float32 scores in the branch's own order.
    Raises:
        OutOfMemoryError: the device has no memory for it.
    """
    # 1. As many branches to a forward pass as fit into the limit.
    chunks = list(cut_branches(sequence, max_tokens_per_forward))
    if len(chunks) == 1:
        return batch_scores(backbone, head, [sequence], vision_cache=vision_cache)[0]
    with translate_oom(lambda: no_room([sequence])):
        # 2. Prefill the prefix, then the branches over its KV cache.
        token_indices = pooled_tokens(head.config.resp_repr_mode, sequence)
        states = _forward_over_cache(
            backbone, sequence, chunks, token_indices, _encoder(backbone, vision_cache)
        )  # (P, H)
        # 3. From the hidden states to a score for each response.
        return _split_by_branch(score_states(head, states, token_indices), [sequence])[0]


def batch_scores(
    backbone: Backbone,
    head: ValueHead,
    sequences: Sequence[PackedSequence],
    *,
    vision_cache: VisionFeatureCache | None = None,
) -> list[list[Tensor]]:
    """Score several groups in one forward pass.

    Args:
        sequences: groups whose media are of the same kinds.
        vision_cache: as for `branch_scores`.
    Returns:
        For each sequence and each of its branches, (responses in it,) float32 scores.
    Raises:
        OutOfMemoryError: the device has no memory for it.
    """
    with translate_oom(lambda: no_room(sequences)):
        # 1. Pad the sequences to one batch, on the device.
        batch = collate(
            sequences,
            backbone.device,
            bidirectional_media_attention=backbone.family.bidirectional_media_attention,
            mode=head.config.resp_repr_mode,
        )
        # 2. One forward pass; of its states, only those that the head reads are kept.
        states = _forward(backbone, batch, _encoder(backbone, vision_cache))  # (P, H)
        # 3. From the hidden states to a score for each response.
        return _split_by_branch(score_states(head, states, batch.token_indices), sequences)


def cut_branches(sequence: PackedSequence, max_tokens_per_forward: int) -> Iterator[list[int]]:
    """Branch numbers, as many to a forward pass as fit beside the prefix; at least one.

    Args:
        max_tokens_per_forward: most tokens of the prefix and the branches of one pass.
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


def _encoder(backbone: Backbone, vision_cache: VisionFeatureCache | None) -> Encode:
    if vision_cache is None:
        return lambda sequences: encode(backbone, [sequence.media_inputs for sequence in sequences])
    return partial(vision_cache.encode, backbone)


def _forward(backbone: Backbone, batch: Batch, encode: Encode) -> Tensor:
    """Hidden states (P, H) of the tokens that the head reads, from one forward pass."""
    arguments: dict[str, Any] = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    if batch.attention_plan is not None:
        backbone.check_branches()
        arguments |= batch.attention_plan.arguments
    if batch.with_media:
        arguments["mm_encoder_outputs"] = encoder_outputs(encode(batch.with_media))
    states: Tensor = backbone.run("forward", **arguments, use_cache=False).last_hidden_state  # (B, T, H)
    if batch.attention_plan is not None:
        batch.attention_plan.check_used(backbone.n_layers)
    return states[batch.pooled_rows, batch.pooled_columns]  # (P, H)


def _forward_over_cache(
    backbone: Backbone,
    sequence: PackedSequence,
    chunks: Sequence[list[int]],
    token_indices: Sequence[Sequence[int]],
    encode: Encode,
) -> Tensor:
    """The same hidden states (P, H): the prefix is prefilled once, and each chunk of branches read over its cache."""
    backbone.check_branches()
    device, n_prefix = backbone.device, sequence.n_prefix
    ids = send(sequence.input_ids, device)  # (1, T)
    positions = send(sequence.position_ids, device)  # (1, T) or (3, 1, T)
    # 1. Prefill: the prefix with its media, which leaves its keys and values in the cache.
    arguments: dict[str, Any] = {
        "input_ids": ids[:, :n_prefix],
        "position_ids": positions[..., :n_prefix],
    }
    if sequence.media_inputs:
        arguments["mm_token_type_ids"] = send(sequence.media_types[:, :n_prefix], device)
        arguments["mm_encoder_outputs"] = encoder_outputs(encode([sequence]))
    prefix = backbone.run("forward", **arguments, use_cache=True)
    cache = cache_of(backbone.model, prefix)
    states: Tensor = prefix.last_hidden_state.new_empty(sequence.n_tokens, backbone.hidden_size)  # (T, H)
    states[:n_prefix] = prefix.last_hidden_state[0]
    # 2. Each chunk over the cache, which is then cut back to the prefix.
    for chunk in chunks:
        lengths = [sequence.branch_lengths[branch] for branch in chunk]
        start = sequence.branch_starts[chunk[0]]
        own = slice(start, start + sum(lengths))
        attention_plan = build_cached_attention_plan(n_prefix, lengths, device)
        found = backbone.run(
            "forward",
            input_ids=ids[:, own],
            position_ids=positions[..., own],
            **attention_plan.arguments,
            **cache.arguments,
            use_cache=True,
        )
        attention_plan.check_used(backbone.n_layers)
        states[own] = found.last_hidden_state[0]
        cache.states.crop(-sum(lengths))
    # 3. The states that the head reads.
    return states[send(torch.tensor([index for each in token_indices for index in each]), device)]  # (P, H)


def score_states(head: ValueHead, states: Tensor, token_indices: Sequence[Sequence[int]]) -> Tensor:
    """(responses,) float32 scores from the states (P, H) of the tokens that are read of them; see `pooled_tokens`."""
    pooled = pool(head.config.resp_repr_mode, states, token_indices)  # (responses, H or 2 H)
    scores: Tensor = head(pooled)  # (responses,)
    return scores


def _split_by_branch(scores: Tensor, sequences: Sequence[PackedSequence]) -> list[list[Tensor]]:
    """Scores (responses over all branches of all sequences,) by sequence and branch."""
    n_responses = [len(spans) for sequence in sequences for spans in sequence.spans]
    parts = iter(torch.split(scores, n_responses))
    return [[next(parts) for _ in sequence.spans] for sequence in sequences]


def no_room(sequences: Sequence[PackedSequence]) -> OutOfMemoryError:
    """That a pass over some groups does not fit on the device."""
    n_tokens = sum(sequence.n_tokens for sequence in sequences)
    what = "a group" if len(sequences) == 1 else f"{len(sequences)} groups"
    return OutOfMemoryError(
        f"out of memory on {what} of {n_tokens} tokens",
        hint="Use --quant 4bit, fewer --orders or a lower --max-tokens, or free the GPU.",
    )
