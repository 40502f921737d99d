"""The only forward path: layouts go in, one score for each response comes out.

Scoring, timing and serving call `batch_scores`, training `branch_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from yoj_cli.errors import OutOfMemoryError
from yoj_cli.judge.attention import see_cached
from yoj_cli.judge.backbone import Backbone, name_device_errors
from yoj_cli.judge.features import Encoded, FeatureMemory, encode, encoder_outputs
from yoj_cli.judge.head import ValueHead
from yoj_cli.judge.kv_cache import cache_of
from yoj_cli.judge.layout import Layout
from yoj_cli.judge.pooling import pool, read_places
from yoj_cli.judge.rows import Rows, stack
from yoj_cli.judge.transfer import send

PASS_TOKENS = 8192
"""Branches are read together up to this many tokens; above, a few at a time over the prefix's KV cache.

It bounds memory. On a CPU it costs no time: from 1,000 tokens on, all sizes of a pass are as fast.
"""

Encode: TypeAlias = Callable[[Sequence[Layout]], list[Encoded]]


def branch_scores(
    backbone: Backbone,
    head: ValueHead,
    layout: Layout,
    *,
    pass_tokens: int = PASS_TOKENS,
    memory: FeatureMemory | None = None,
) -> list[Tensor]:
    """Score every response of every branch.

    Args:
        pass_tokens: a layout longer than this is cut by branches, which then share the prefix's KV cache;
            PASS_TOKENS by default.
        memory: where features of pictures and clips are kept for the next layout that shows them.
    Returns:
        For each branch, (responses in it,) float32 scores in the branch's own order.
    Raises:
        OutOfMemoryError: the device has no room for the pass.
    """
    chunks = list(cut_branches(layout, pass_tokens))
    if len(chunks) == 1:
        return batch_scores(backbone, head, [layout], memory=memory)[0]
    with name_device_errors(lambda: _no_room([layout])):
        places = read_places(head.config.resp_repr_mode, layout)
        states = _by_chunks(backbone, layout, chunks, places, _encoder(backbone, memory))
        return _split(score_states(head, states, places), [layout])[0]


def batch_scores(
    backbone: Backbone, head: ValueHead, layouts: Sequence[Layout], *, memory: FeatureMemory | None = None
) -> list[list[Tensor]]:
    """Score several groups in one pass, each a row of its own.

    Args:
        layouts: groups whose media are of the same kinds.
        memory: as for `branch_scores`.
    Returns:
        For each layout and each of its branches, (responses in it,) float32 scores.
    Raises:
        OutOfMemoryError: the device has no room for the pass.
    """
    with name_device_errors(lambda: _no_room(layouts)):
        rows = stack(
            layouts,
            backbone.device,
            media_sees_itself=backbone.family.media_sees_itself,
            mode=head.config.resp_repr_mode,
        )
        states = _one_pass(backbone, rows, _encoder(backbone, memory))
        return _split(score_states(head, states, rows.places), layouts)


def cut_branches(layout: Layout, pass_tokens: int) -> Iterator[list[int]]:
    """Branch numbers, as many to a pass as fit beside the prefix; at least one.

    Args:
        pass_tokens: tokens of the prefix and the branches of one pass.
    """
    if len(layout.ends) == 1:
        yield [0]
        return
    chunk: list[int] = []
    used = layout.n_prefix
    for branch, count in enumerate(layout.branch_lengths):
        if chunk and used + count > pass_tokens:
            yield chunk
            chunk, used = [], layout.n_prefix
        chunk.append(branch)
        used += count
    yield chunk


def _encoder(backbone: Backbone, memory: FeatureMemory | None) -> Encode:
    if memory is None:
        return lambda layouts: encode(backbone, [layout.media_inputs for layout in layouts])
    return partial(memory.encode, backbone)


def _one_pass(backbone: Backbone, rows: Rows, encode: Encode) -> Tensor:
    """Hidden states (P, H) of the tokens that the head reads, from one forward pass."""
    arguments: dict[str, Any] = {"input_ids": rows.input_ids, "position_ids": rows.position_ids}
    if rows.sight is not None:
        arguments |= rows.sight.arguments
    if rows.with_media:
        arguments["mm_encoder_outputs"] = encoder_outputs(encode(rows.with_media))
    states: Tensor = backbone.model(**arguments, use_cache=False).last_hidden_state
    if rows.sight is not None:
        rows.sight.check_used(backbone.n_layers)
    return states[rows.read_rows, rows.read_columns]


def _by_chunks(
    backbone: Backbone,
    layout: Layout,
    chunks: Sequence[list[int]],
    places: Sequence[Sequence[int]],
    encode: Encode,
) -> Tensor:
    """The same hidden states, the prefix computed once and the branches a few at a time over its cache."""
    device, n_prefix = backbone.device, layout.n_prefix
    ids, positions = send(layout.input_ids, device), send(layout.position_ids, device)
    arguments: dict[str, Any] = {
        "input_ids": ids[:, :n_prefix],
        "position_ids": positions[..., :n_prefix],
    }
    if layout.media_inputs:
        arguments["mm_token_type_ids"] = send(layout.media_types[:, :n_prefix], device)
        arguments["mm_encoder_outputs"] = encoder_outputs(encode([layout]))
    prefix = backbone.model(**arguments, use_cache=True)
    cache = cache_of(backbone.model, prefix)
    states: Tensor = prefix.last_hidden_state.new_empty(layout.n_tokens, backbone.hidden_size)
    states[:n_prefix] = prefix.last_hidden_state[0]
    for chunk in chunks:
        lengths = [layout.branch_lengths[branch] for branch in chunk]
        start = layout.branch_starts[chunk[0]]
        own = slice(start, start + sum(lengths))
        sight = see_cached(n_prefix, lengths, device)
        found = backbone.model(
            input_ids=ids[:, own],
            position_ids=positions[..., own],
            **sight.arguments,
            **cache.arguments,
            use_cache=True,
        )
        sight.check_used(backbone.n_layers)
        states[own] = found.last_hidden_state[0]
        cache.states.crop(-sum(lengths))
    return states[send(torch.tensor([place for each in places for place in each]), device)]


def score_states(head: ValueHead, states: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """(responses,) float32 scores from the states (P, H) of the tokens that are read of them; see `read_places`."""
    scores: Tensor = head(pool(head.config.resp_repr_mode, states, places))
    return scores


def _split(scores: Tensor, layouts: Sequence[Layout]) -> list[list[Tensor]]:
    """(responses over all branches of all layouts,) scores, by layout and branch."""
    parts = iter(torch.split(scores, [len(ends) for layout in layouts for ends in layout.ends]))
    return [[next(parts) for _ in layout.ends] for layout in layouts]


def _no_room(layouts: Sequence[Layout]) -> OutOfMemoryError:
    n_tokens = sum(layout.n_tokens for layout in layouts)
    what = "a group" if len(layouts) == 1 else f"{len(layouts)} groups"
    return OutOfMemoryError(
        f"out of memory on {what} of {n_tokens} tokens",
        hint="Use --quant 4bit, fewer --orders or a lower --max-tokens, or free the GPU.",
    )
