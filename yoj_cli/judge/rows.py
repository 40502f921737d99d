"""Several groups in one forward pass: each a row, the shorter ones padded on the right.

Rows and not one long sequence: a row needs no mask to keep it from the others, and attention costs the square
of the longest row instead of the square of them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoj_cli.judge.layout import Layout, visibility

PADDING = -2
"""The branch of the tokens that fill a row up: they see the prefix and each other, and no end sees them."""


@dataclass(frozen=True)
class Rows:
    """Layouts as one pass reads them, on the device.

    Attributes:
        input_ids: (B, T) int64; padding repeats the row's last token.
        position_ids: (B, T), or (3, B, T) for mRoPE; padding counts on.
        media_types: (B, T) 0 = text, else a picture or frame token.
        branch_of: (B, T) the branch a token belongs to, PREFIX for a prefix and PADDING for padding.
        end_rows, end_columns: (responses over all branches of all rows,) where the ends stand.
        with_media: the layouts that show something, in their order.
        has_branches: some row has several branches, and needs a mask.
    """

    input_ids: Tensor
    position_ids: Tensor
    media_types: Tensor
    branch_of: Tensor
    end_rows: Tensor
    end_columns: Tensor
    with_media: tuple[Layout, ...]
    has_branches: bool

    def attention_mask(self, *, media_sees_itself: bool) -> Tensor:
        """(B, 1, T, T) bool: who sees whom, in each row."""
        every = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        return visibility(self.branch_of, self.media_types if media_sees_itself else None, every, every)


def stack(layouts: Sequence[Layout], device: torch.device) -> Rows:
    """Layouts as rows of one pass, on the device.

    Args:
        layouts: at least one.
    """
    length = max(layout.n_tokens for layout in layouts)
    ends = [(row, end) for row, layout in enumerate(layouts) for ends in layout.ends for end in ends]
    tensors = (
        torch.cat([_pad(layout.input_ids, length, layout.input_ids[:, -1:]) for layout in layouts]),
        torch.cat([_pad_positions(layout.position_ids, length) for layout in layouts], dim=-2),
        torch.cat(
            [_pad(layout.media_types, length, layout.media_types.new_zeros(1, 1)) for layout in layouts]
        ),
        torch.cat([_pad(layout.branch_of[None], length, torch.tensor([[PADDING]])) for layout in layouts]),
        torch.tensor(ends).T,
    )
    if device.type == "cuda":  # copied while the device computes
        tensors = tuple(tensor.pin_memory() for tensor in tensors)  # type: ignore[assignment]
    ids, positions, types, branches, places = (tensor.to(device, non_blocking=True) for tensor in tensors)
    return Rows(
        input_ids=ids,
        position_ids=positions,
        media_types=types,
        branch_of=branches,
        end_rows=places[0],
        end_columns=places[1],
        with_media=tuple(layout for layout in layouts if layout.media_inputs),
        has_branches=any(len(layout.ends) > 1 for layout in layouts),
    )


def _pad(row: Tensor, length: int, value: Tensor) -> Tensor:
    """(1, n) -> (1, length), filled up with a value of shape (1, 1)."""
    missing = length - row.shape[-1]
    return torch.cat([row, value.expand(-1, missing)], dim=-1) if missing else row


def _pad_positions(positions: Tensor, length: int) -> Tensor:
    """(1, n) or (3, 1, n) -> (…, 1, length), counting on: a jump would look like a new sequence to transformers."""
    missing = length - positions.shape[-1]
    return (
        torch.cat([positions, positions[..., -1:] + torch.arange(1, missing + 1)], dim=-1)
        if missing
        else positions
    )


def cut_rows(lengths: Sequence[int], kinds: Sequence[object], max_tokens: int) -> list[list[int]]:
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
