"""Pooling: the hidden states of some of a response's tokens, as the one vector that the value head reads.

The names and formulas are the official ones (github.com/yinuoyang01/multi-response-rm,
mr2rm/models/reward_model.py and mr2rm/data/dataset.py, `resp_repr_mode`). A response begins with its first token
(the one after the separator, for all but the first response) and ends with its end token, the one before the next
separator or the last of the sequence:

    last               state of the end token
    first              state of the first token
    first_last_concat  both, concatenated: the head reads 2 H numbers
    first_last_add     first + last
    first_last_sub     last - first
    response_mean      mean over all tokens, first and last included
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from yoj_cli.config.judge import RespReprMode


class ResponseSpans(Protocol):
    """What pooling needs to know of a packed sequence: the indices of its branches and their responses."""

    @property
    def n_prefix(self) -> int: ...
    @property
    def branch_starts(self) -> Sequence[int]: ...
    @property
    def spans(self) -> Sequence[Sequence[tuple[int, int]]]:
        """For each branch, the first and the last token of each of its responses."""


def head_width(mode: RespReprMode, hidden_size: int) -> int:
    """Width of the head's input, the vector that a response is pooled to."""
    return 2 * hidden_size if mode == "first_last_concat" else hidden_size


def pooled_tokens(mode: RespReprMode, sequence: ResponseSpans) -> list[Sequence[int]]:
    """The tokens whose states are pooled: indices into T for each response of each branch, in order.

    A first token that all branches share is in the prefix; the rest of its response is in the branch.
    """
    return [
        _pooled_tokens(mode, sequence.n_prefix, branch_start, start, end)
        for branch_start, spans in zip(sequence.branch_starts, sequence.spans, strict=True)
        for start, end in spans
    ]


def _pooled_tokens(
    mode: RespReprMode, n_prefix: int, branch_start: int, start: int, end: int
) -> Sequence[int]:
    if mode == "last":
        return (end,)
    if mode == "first":
        return (start,)
    if mode != "response_mean":
        return (start, end)
    if start < n_prefix <= end:
        return (*range(start, n_prefix), *range(branch_start, end + 1))
    return range(start, end + 1)


def pool(mode: RespReprMode, states: Tensor, token_indices: Sequence[Sequence[int]]) -> Tensor:
    """One vector for each response.

    Args:
        states: (P, H) the states at `token_indices`, those of one response after those of another.
        token_indices: from `pooled_tokens`: P in all.
    Returns:
        (R, H), or (R, 2 H) for `first_last_concat`; sums and means are float32, whatever the backbone computes in.
    """
    if mode in ("last", "first"):
        return states
    if mode == "response_mean":
        # Response by response, not over a padded block: a score's last digits must not depend on other responses.
        parts = torch.split(states.float(), [len(each) for each in token_indices])
        return torch.stack([part.mean(dim=0) for part in parts])
    first, last = states[0::2], states[1::2]
    if mode == "first_last_concat":
        return torch.cat([first, last], dim=-1)
    return first.float() + last.float() if mode == "first_last_add" else last.float() - first.float()
