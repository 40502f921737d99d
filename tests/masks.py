"""Who sees whom, written down in full: what attention that skips most of it must agree with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yoj_cli.judge.layout import Layout


def dense_mask(layouts: Sequence[Layout], *, media_sees_itself: bool) -> Tensor:
    """(B, T, T) bool, a row for each layout. Padding sees itself alone, and is seen by nothing else.

    A token sees the prefix and what stands before it in its own branch; media tokens see each other.
    """
    length = max(layout.n_tokens for layout in layouts)
    mask = torch.eye(length, dtype=torch.bool).repeat(len(layouts), 1, 1)
    for row, layout in enumerate(layouts):
        prefix = range(layout.n_prefix)
        branches = [
            range(start, start + n)
            for start, n in zip(layout.branch_starts, layout.branch_lengths, strict=True)
        ]
        for tokens in (prefix, *branches):
            for token in tokens:
                mask[row, token, : min(token, layout.n_prefix)] = True
                mask[row, token, tokens.start : token] = True
        media = layout.media_types[0].nonzero()[:, 0]
        if media_sees_itself:
            mask[row, media[:, None], media] = True
    return mask
