"""The only forward path: a layout goes in, one score for each response end comes out.

Scoring, training, timing and serving all call `branch_scores`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from yoj_cli.errors import OutOfMemoryError
from yoj_cli.judge.backbone import Backbone
from yoj_cli.judge.head import ValueHead
from yoj_cli.judge.layout import PREFIX, Layout

PASS_TOKENS = 8192
"""Branches are read together up to this many tokens; above, a few at a time over the prefix's KV cache.

A dense mask takes the square of it (64 MiB of booleans), and so does what attention computes and throws away
between branches that do not see each other.
"""


def branch_scores(
    backbone: Backbone, head: ValueHead, layout: Layout, *, pass_tokens: int = PASS_TOKENS
) -> list[Tensor]:
    """Score every response of every branch.

    Args:
        pass_tokens: a layout longer than this is cut by branches, which then share the prefix's KV cache.
    Returns:
        For each branch, (responses in it,) float32 scores in the branch's own order.
    Raises:
        OutOfMemoryError: the device has no room for the pass.
    """
    try:
        chunks = list(_chunks(layout, pass_tokens))
        hidden = _one_pass(backbone, layout) if len(chunks) == 1 else _by_chunks(backbone, layout, chunks)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"out of GPU memory on a group of {layout.n_tokens} tokens",
            hint="Use --quant 4bit, fewer --orders or a lower --max-tokens, or free the GPU.",
        ) from error
    scores = head(hidden)
    return list(scores.split([len(ends) for ends in layout.ends]))


def _one_pass(backbone: Backbone, layout: Layout) -> Tensor:
    """Hidden states (responses over all branches, H) at the ends, from one forward pass."""
    arguments = _arguments(backbone, layout)
    if len(layout.ends) > 1:
        every = torch.arange(layout.n_tokens, device=backbone.device)
        arguments["attention_mask"] = layout.attention_mask(
            every, every, media_sees_itself=backbone.family.media_sees_itself
        )
    elif layout.n_media_tokens:
        # A single branch needs no mask of ours, and without one the fastest attention kernels apply.
        arguments["mm_token_type_ids"] = layout.media_types.to(backbone.device)
    states: Tensor = backbone.model(**arguments, use_cache=False).last_hidden_state[0]
    return states[_flat_ends(layout, backbone.device)]


def _by_chunks(backbone: Backbone, layout: Layout, chunks: Sequence[list[int]]) -> Tensor:
    """The same hidden states, the prefix computed once and the branches a few at a time over its cache."""
    device, n_prefix = backbone.device, layout.n_prefix
    arguments = _arguments(backbone, layout)
    ids, positions = arguments["input_ids"], arguments["position_ids"]
    arguments |= {"input_ids": ids[:, :n_prefix], "position_ids": positions[..., :n_prefix]}
    if layout.n_media_tokens:
        arguments["mm_token_type_ids"] = layout.media_types[:, :n_prefix].to(device)
    prefix = backbone.model(**arguments, use_cache=True)
    cache = prefix.past_key_values
    states: Tensor = prefix.last_hidden_state.new_empty(layout.n_tokens, backbone.hidden_size)
    states[:n_prefix] = prefix.last_hidden_state[0]
    branch_of = layout.branch_of.to(device)
    seen = torch.arange(n_prefix, device=device)
    for chunk in chunks:
        own = torch.isin(branch_of, torch.tensor(chunk, device=device)).nonzero()[:, 0]
        found = backbone.model(
            input_ids=ids[:, own],
            position_ids=positions[..., own],
            attention_mask=layout.attention_mask(
                own, torch.cat([seen, own]), media_sees_itself=backbone.family.media_sees_itself
            ),
            past_key_values=cache,
            use_cache=True,
        )
        states[own] = found.last_hidden_state[0]
        cache.crop(-len(own))
    return states[_flat_ends(layout, device)]


def _arguments(backbone: Backbone, layout: Layout) -> dict[str, Tensor]:
    tensors = {"input_ids": layout.input_ids, "position_ids": layout.position_ids, **layout.media_inputs}
    return {name: tensor.to(backbone.device, non_blocking=True) for name, tensor in tensors.items()}


def _flat_ends(layout: Layout, device: torch.device) -> Tensor:
    return torch.tensor([end for ends in layout.ends for end in ends], device=device)


def _chunks(layout: Layout, pass_tokens: int) -> Iterator[list[int]]:
    """Branch numbers, as many to a chunk as fit beside the prefix; at least one."""
    counts = torch.bincount(layout.branch_of[layout.branch_of != PREFIX]).tolist()
    chunk: list[int] = []
    used = layout.n_prefix
    for branch, count in enumerate(counts):
        if chunk and used + count > pass_tokens:
            yield chunk
            chunk, used = [], layout.n_prefix
        chunk.append(branch)
        used += count
    yield chunk
