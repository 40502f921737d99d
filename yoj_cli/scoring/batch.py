"""A batch: several groups in one forward pass, each a row, the shorter ones padded on the right.

Why not one long packed sequence: rows need no mask that keeps one group from another, and attention costs the square
of the longest row instead of the square of their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoj_cli.config.judge import RespReprMode
from yoj_cli.model.attention import AttentionPlan, build_attention_plan
from yoj_cli.model.device import send
from yoj_cli.model.pooling import pooled_tokens
from yoj_cli.sequence.packed import PackedSequence


@dataclass(frozen=True)
class Batch:
    """B packed sequences, padded to T tokens, on the device.

    Attributes:
        input_ids: (B, T) int64; padding repeats the row's last token.
        position_ids: (B, T), or (3, B, T) for mRoPE; in padding they go on counting.
        token_indices: for each response over all branches of all rows, the tokens of its row whose states are pooled.
        pooled_rows, pooled_columns: (P,) row and column of each of those tokens, one response after the other.
        with_media: the sequences that have pictures or clips, in their order.
        attention_plan: which token attends to which; None for causal attention, in which no token attends to the
            padding after it.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_indices: list[Sequence[int]]
    pooled_rows: Tensor
    pooled_columns: Tensor
    with_media: tuple[PackedSequence, ...]
    attention_plan: AttentionPlan | None


def collate(
    sequences: Sequence[PackedSequence],
    device: torch.device,
    *,
    bidirectional_media_attention: bool,
    mode: RespReprMode = "last",
) -> Batch:
    """Collate packed sequences to one batch.

    Args:
        sequences: at least one.
        bidirectional_media_attention: picture and frame tokens attend to each other in both directions.
        mode: what the head reads of a response.
    """
    length = max(sequence.n_tokens for sequence in sequences)
    pooled = [(row, each) for row, sequence in enumerate(sequences) for each in pooled_tokens(mode, sequence)]
    where = [(row, column) for row, each in pooled for column in each]
    tensors = (
        torch.cat([_pad(sequence.input_ids, length) for sequence in sequences]),  # (B, T)
        torch.cat(
            [_pad_positions(sequence.position_ids, length) for sequence in sequences], dim=-2
        ),  # (…, B, T)
        torch.tensor(where).T,  # (2, P)
    )
    ids, positions, cells = (send(tensor, device) for tensor in tensors)
    return Batch(
        input_ids=ids,
        position_ids=positions,
        token_indices=[each for _, each in pooled],
        pooled_rows=cells[0],
        pooled_columns=cells[1],
        with_media=tuple(sequence for sequence in sequences if sequence.media_inputs),
        attention_plan=build_attention_plan(
            sequences, device, bidirectional_media_attention=bidirectional_media_attention
        ),
    )


def _pad(row: Tensor, length: int) -> Tensor:
    """(1, n) -> (1, length), padded with the last token."""
    missing = length - row.shape[-1]
    return torch.cat([row, row[:, -1:].expand(-1, missing)], dim=-1) if missing else row


def _pad_positions(positions: Tensor, length: int) -> Tensor:
    """(1, n) or (3, 1, n) -> (…, 1, length), counting on: transformers would take a jump for a new sequence."""
    missing = length - positions.shape[-1]
    return (
        torch.cat([positions, positions[..., -1:] + torch.arange(1, missing + 1)], dim=-1)
        if missing
        else positions
    )


def bucket(sequences: Sequence[PackedSequence], max_tokens: int) -> list[list[int]]:
    """Which sequences are read in one pass: like lengths together, and media of the same kinds.

    Args:
        max_tokens: as for `bucket_by_length`.
    Returns:
        Their indices, each once; the batch that holds the first comes first, and so on.
    """
    kinds = [tuple(sorted(sequence.media_inputs)) for sequence in sequences]
    return bucket_by_length([sequence.n_tokens for sequence in sequences], kinds, max_tokens)


def bucket_by_length(lengths: Sequence[int], kinds: Sequence[object], max_tokens: int) -> list[list[int]]:
    """Put groups into length buckets: of one kind, of similar lengths, within a budget of tokens.

    Args:
        lengths: tokens of each group.
        kinds: groups of different kinds are never read together.
        max_tokens: most rows times the longest row of a batch; a longer group is a batch of its own.
    Returns:
        Indices of the groups of each batch, every group once; the batch of the first group comes first.
    """
    order = sorted(range(len(lengths)), key=lambda index: (str(kinds[index]), lengths[index]))
    batches: list[list[int]] = []
    for index in order:
        batch = batches[-1] if batches else []
        fits = (len(batch) + 1) * lengths[index] <= max_tokens
        if batch and fits and kinds[batch[0]] == kinds[index]:
            batch.append(index)
        else:
            batches.append([index])
    return sorted(batches, key=min)
