"""Several groups in one forward pass: each a row, the shorter ones padded on the right.

Rows and not one long sequence: a row needs no mask to keep it from the others, and attention costs the square
of the longest row instead of the square of them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoj_cli.config.judge import RespReprMode
from yoj_cli.model.attention import AttentionPlan, build_attention_plan
from yoj_cli.model.device import send
from yoj_cli.model.pooling import read_places
from yoj_cli.sequence.packed import PackedSequence


@dataclass(frozen=True)
class Batch:
    """Sequences as one pass reads them, on the device.

    Attributes:
        input_ids: (B, T) int64; padding repeats the row's last token.
        position_ids: (B, T), or (3, B, T) for mRoPE; padding counts on.
        places: for each response over all branches of all rows, the tokens of its row whose states are read.
        read_rows, read_columns: (P,) where these stand, one response after the other.
        with_media: the sequences that show something, in their order.
        attention_plan: who sees whom; None where every token sees all those before it.
            No token sees the padding behind it.
    """

    input_ids: Tensor
    position_ids: Tensor
    places: list[Sequence[int]]
    read_rows: Tensor
    read_columns: Tensor
    with_media: tuple[PackedSequence, ...]
    attention_plan: AttentionPlan | None


def stack(
    sequences: Sequence[PackedSequence],
    device: torch.device,
    *,
    bidirectional_media_attention: bool,
    mode: RespReprMode = "last",
) -> Batch:
    """Sequences as rows of one pass, on the device.

    Args:
        sequences: at least one.
        bidirectional_media_attention: picture and frame tokens see each other in both directions.
        mode: what the head reads of a response.
    """
    length = max(sequence.n_tokens for sequence in sequences)
    places = [(row, each) for row, sequence in enumerate(sequences) for each in read_places(mode, sequence)]
    read = [(row, place) for row, each in places for place in each]
    tensors = (
        torch.cat([_pad(sequence.input_ids, length) for sequence in sequences]),
        torch.cat([_pad_positions(sequence.position_ids, length) for sequence in sequences], dim=-2),
        torch.tensor(read).T,
    )
    ids, positions, where = (send(tensor, device) for tensor in tensors)
    return Batch(
        input_ids=ids,
        position_ids=positions,
        places=[each for _, each in places],
        read_rows=where[0],
        read_columns=where[1],
        with_media=tuple(sequence for sequence in sequences if sequence.media_inputs),
        attention_plan=build_attention_plan(
            sequences, device, bidirectional_media_attention=bidirectional_media_attention
        ),
    )


def _pad(row: Tensor, length: int) -> Tensor:
    """(1, n) -> (1, length), filled up with the last."""
    missing = length - row.shape[-1]
    return torch.cat([row, row[:, -1:].expand(-1, missing)], dim=-1) if missing else row


def _pad_positions(positions: Tensor, length: int) -> Tensor:
    """(1, n) or (3, 1, n) -> (…, 1, length), counting on: a jump would look like a new sequence to transformers."""
    missing = length - positions.shape[-1]
    return (
        torch.cat([positions, positions[..., -1:] + torch.arange(1, missing + 1)], dim=-1)
        if missing
        else positions
    )


def bucket_by_length(lengths: Sequence[int], kinds: Sequence[object], max_tokens: int) -> list[list[int]]:
    """Which groups are read together: of one kind, of like lengths, within the budget.

    Args:
        lengths: tokens of each group.
        kinds: groups of different kinds are never read together.
        max_tokens: rows times the longest row; a group above it is read alone.
    Returns:
        Numbers of groups, each once; the batch that holds the first group comes first.
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
