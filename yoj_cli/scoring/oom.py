"""Out of memory: what is freed, what is tried next, and which limits shrink. Decided here and nowhere else.

Whether an error is a refusal of memory is for `model.device` to say, as loading and preparing groups ask that too.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from yoj_cli.errors import OutOfMemoryError, YojError, errors_at, is_of_one_group
from yoj_cli.model.device import translate_oom
from yoj_cli.scoring.forward import cut_branches, no_room
from yoj_cli.sequence.packed import PackedSequence

Result = TypeVar("Result")


@dataclass
class Limits:
    """How much one forward pass reads. Both shrink when memory runs out, and stay so for as long as the judge lives.

    Attributes:
        max_batch_tokens: rows times the longest row of a pass over several groups.
        max_tokens_per_forward: a longer group is read a few branches at a time, over its prefix's KV cache.
        have_shrunk: memory ran out at some time.
    """

    max_batch_tokens: int
    max_tokens_per_forward: int
    have_shrunk: bool = False

    def halve(self, sequences: Sequence[PackedSequence]) -> None:
        """A pass over several groups found no room: the next hold half as much."""
        self.have_shrunk = True
        n_padded = len(sequences) * max(sequence.n_tokens for sequence in sequences)
        self.max_batch_tokens = max(min(self.max_batch_tokens, n_padded) // 2, 1)


def score_within_memory(
    sequences: Sequence[PackedSequence],
    forward: Callable[[Sequence[PackedSequence], int], list[Result]],
    limits: Limits,
    free: Callable[[], None],
) -> list[Result | YojError]:
    """Score a batch in one forward pass or, where that fails, in smaller ones.

    Args:
        sequences: at least one group.
        forward: a pass over the given groups; a single group in parts of so many tokens.
        limits: shrunk here.
        free: gives back what the device holds beside the model.
    Returns:
        For each group its result, or the error with which it failed alone. A device that stopped working is the
        error of all groups that it was not done with.
    """
    max_tokens = limits.max_tokens_per_forward
    while True:
        # 1. Try. Of an attempt that fails, nothing but the error is left.
        found = attempt(sequences, partial(forward, sequences, max_tokens))
        if not isinstance(found, YojError):
            # Only now: a group that fits in no way says nothing about others.
            limits.have_shrunk |= max_tokens < limits.max_tokens_per_forward
            limits.max_tokens_per_forward = max_tokens
            return [*found]
        if not is_of_one_group(found):
            return [found] * len(sequences)

        # 2. Free, before anything is tried again.
        is_oom = isinstance(found, OutOfMemoryError)
        if is_oom:
            free()

        # 3. Several groups: try each half. That also finds the one that an error of another kind is about.
        if len(sequences) > 1:
            if is_oom:
                limits.halve(sequences)
            half = len(sequences) // 2
            halves = (sequences[:half], sequences[half:])
            return [each for part in halves for each in score_within_memory(part, forward, limits, free)]

        # 4. One group: try fewer branches at a time, down to one.
        smaller = _smaller_forward(sequences[0], max_tokens) if is_oom else None
        if smaller is None:
            return [found]
        max_tokens = smaller


def attempt(sequences: Sequence[PackedSequence], run: Callable[[], list[Result]]) -> list[Result] | YojError:
    """What a pass gives, or the error that it ends with, whose traceback holds no tensor any more.

    Args:
        sequences: what is read in it, for the error.
    """
    try:
        with errors_at(""), translate_oom(lambda: no_room(sequences)):
            return run()
    except YojError as error:
        _clear_frames(error)
        return error


def _clear_frames(error: BaseException) -> None:
    """Drop what the frames of a traceback hold, the failed pass's tensors among it; where it failed stays known."""
    chain = [error]
    for each in chain:
        traceback.clear_frames(each.__traceback__)
        causes = (each.__cause__, each.__context__)
        chain += [cause for cause in causes if cause is not None and cause not in chain]
    gc.collect()  # models and their outputs have circles


def _smaller_forward(sequence: PackedSequence, max_tokens: int) -> int | None:
    """A number of tokens that cuts a group into more parts; None where each part has but one branch."""
    n_now = len(list(cut_branches(sequence, max_tokens)))
    if n_now == len(sequence.score_positions):
        return None
    smaller = min(max_tokens, sequence.n_tokens)
    while len(list(cut_branches(sequence, smaller))) <= n_now:
        smaller //= 2
    return smaller
