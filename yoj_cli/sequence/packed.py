"""A packed sequence: a group as one sequence of token ids, a shared prefix and then branches of responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import torch
from torch import Tensor

from yoj_cli.errors import ModelError
from yoj_cli.sequence.media_inputs import MediaKey, Processed

Span: TypeAlias = tuple[int, int]
"""First and last token of a response."""


@dataclass(frozen=True)
class PackedSequence:
    """One group, ready for the backbone.

    Attributes:
        input_ids: (1, T) int64, the prefix and then every branch.
        position_ids: (1, T), or (3, 1, T) for mRoPE; they restart after the prefix in each branch.
        media_types: (1, T) 0 = text, else a picture or frame token.
        branch_lengths: tokens of each branch; the branches follow the prefix, one after the other.
        spans: for each branch, the indices into T of the first and the last token of each of its responses; a first
            token that all branches share is in the prefix.
        media_inputs: pixel tensors and grids, by the model's argument names.
        n_prefix: tokens that all branches share; 0 where there is a single branch.
        n_cut: tokens that the end of the sequence has lost; see `SequenceBuilder`.
        is_shrunk: pictures or clips are shown smaller than they would be; see `vision_budget`.
        media_key: equal only for sequences with equal `media_inputs`; None where it was not computed.
    """

    input_ids: Tensor
    position_ids: Tensor
    media_types: Tensor
    branch_lengths: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    media_inputs: dict[str, Tensor]
    n_prefix: int
    media_key: MediaKey | None = None
    n_cut: int = 0
    is_shrunk: bool = False

    @property
    def score_positions(self) -> tuple[tuple[int, ...], ...]:
        """For each branch, the index into T of the last token of each of its responses."""
        return tuple(tuple(end for _, end in spans) for spans in self.spans)

    @property
    def n_tokens(self) -> int:
        return int(self.input_ids.shape[1])

    @property
    def branch_starts(self) -> tuple[int, ...]:
        """Index into T of each branch's first token."""
        return tuple(accumulate(self.branch_lengths[:-1], initial=self.n_prefix))

    @property
    def n_media_tokens(self) -> int:
        return int((self.media_types > 0).sum())


def share_prefix(
    sequences: Sequence[tuple[list[int], list[Span]]],
    positions: Tensor,
    media_types: Tensor,
    media: Processed,
) -> PackedSequence:
    """Pack branches: their longest common prefix is stored once, and each keeps at least its last token.

    Args:
        sequences: each branch as a sequence of its own: its ids, and the first and the last token of each response.
        positions: (1, T0) or (3, 1, T0) position ids of the first sequence; those of the others follow from them.
        media_types: (T0,) of the first sequence, 0 = text, 1 = picture token, 2 = clip token.
        media: the group's media, whose tokens these are.
    Raises:
        ModelError: media after the common prefix; every branch would have to hold them.
    """
    n_prefix = 0 if len(sequences) == 1 else _common_length([ids for ids, _ in sequences])
    if n_prefix and int(media_types[n_prefix:].sum()):
        raise ModelError("a picture stands after the responses; the prefix must hold all media")
    first = torch.tensor([sequences[0][0]])
    all_ids, all_positions = [first[:, :n_prefix]], [positions[..., :n_prefix]]
    all_spans: list[tuple[Span, ...]] = []
    start = n_prefix
    for index, (ids, spans) in enumerate(sequences):
        own = torch.tensor([ids[n_prefix:]])
        all_ids.append(own)
        all_positions.append(
            positions[..., n_prefix : n_prefix + 1] + torch.arange(own.shape[1])
            if index
            else positions[..., n_prefix:]
        )
        shift = start - n_prefix
        all_spans.append(
            tuple(
                (first + shift * (first >= n_prefix), last + shift * (last >= n_prefix))
                for first, last in spans
            )
        )
        start += own.shape[1]
    input_ids = torch.cat(all_ids, dim=1)
    all_types = torch.zeros_like(input_ids)
    all_types[0, : len(media_types)] = media_types
    return PackedSequence(
        input_ids=input_ids,
        position_ids=torch.cat(all_positions, dim=-1),
        media_types=all_types,
        branch_lengths=tuple(len(ids) - n_prefix for ids, _ in sequences),
        spans=tuple(all_spans),
        media_inputs=media.inputs,
        n_prefix=n_prefix,
        media_key=media.key,
    )


def _common_length(sequences: list[list[int]]) -> int:
    """Length of the longest common prefix that leaves each sequence at least its last token."""
    limit = min(len(ids) for ids in sequences) - 1
    first = sequences[0]
    return next((i for i in range(limit) if any(ids[i] != first[i] for ids in sequences[1:])), limit)
