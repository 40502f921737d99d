"""Who sees whom, written down in full: what attention that skips most of it must agree with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yoj_cli.sequence.packed import PackedSequence


def dense_mask(sequences: Sequence[PackedSequence], *, bidirectional_media_attention: bool) -> Tensor:
    """(B, T, T) bool, a row for each sequence. Padding sees itself alone, and is seen by nothing else.

    A token sees the prefix and what stands before it in its own branch; media tokens see each other.
    """
    length = max(sequence.n_tokens for sequence in sequences)
    mask = torch.eye(length, dtype=torch.bool).repeat(len(sequences), 1, 1)
    for row, sequence in enumerate(sequences):
        prefix = range(sequence.n_prefix)
        branches = [
            range(start, start + n)
            for start, n in zip(sequence.branch_starts, sequence.branch_lengths, strict=True)
        ]
        for tokens in (prefix, *branches):
            for token in tokens:
                mask[row, token, : min(token, sequence.n_prefix)] = True
                mask[row, token, tokens.start : token] = True
        media = sequence.media_types[0].nonzero()[:, 0]
        if bidirectional_media_attention:
            mask[row, media[:, None], media] = True
    return mask
