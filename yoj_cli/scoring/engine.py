"""What keeps the device busy: groups read together within a budget, and a smaller budget when memory runs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from yoj_cli.errors import OutOfMemoryError, YojError, errors_at, is_of_one_group
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import ValueHead
from yoj_cli.scoring.batch import bucket_by_length
from yoj_cli.scoring.forward import MAX_TOKENS_PER_FORWARD, batch_scores, branch_scores, cut_branches
from yoj_cli.scoring.vision_cache import VisionFeatureCache
from yoj_cli.sequence.packed import PackedSequence

BATCH_TOKENS = {"cuda": 8192, "cpu": 1024}
"""Tokens of a pass over several groups, padding included.

On a CPU the demo judge is fastest at about 1,000, and a group waits for those read beside it. A GPU's is not tuned:
it is where a single group is cut too.
"""


@dataclass(frozen=True)
class Scored:
    """What a pass found out about one group.

    Attributes:
        values: for each branch, a score for each response in it.
        seconds: the group's share of the pass, by tokens.
    """

    values: list[list[float]]
    seconds: float


Outcome: TypeAlias = "Scored | YojError"


@dataclass
class Usage:
    """Running totals for whoever wants to know where the time went.

    Attributes:
        n_passes, n_groups, n_tokens: what was read.
        n_padded: places in the passes, padding included.
        waited_s: time in streams in which no group was prepared yet.
        seconds: time in streams, without what their consumer took.
    """

    n_passes: int = 0
    n_groups: int = 0
    n_tokens: int = 0
    n_padded: int = 0
    waited_s: float = 0.0
    seconds: float = 0.0


class Engine:
    """Scores sequences on one device.

    Attributes:
        max_batch_tokens: rows times the longest row of a pass over several groups; halved when memory runs out.
        max_tokens_per_forward: a longer group is read by branches over its prefix's cache; halved likewise.
        memory: features of the media seen last.
        usage: running totals.
    """

    def __init__(self, backbone: Backbone, head: ValueHead, max_batch_tokens: int | None = None) -> None:
        self.backbone, self.head = backbone, head
        self.max_batch_tokens = max_batch_tokens or BATCH_TOKENS[backbone.device.type]
        self.max_tokens_per_forward = MAX_TOKENS_PER_FORWARD
        self.memory = VisionFeatureCache()
        self.usage = Usage()
        self._lock = threading.Lock()  # one pass at a time, whoever asks

    def score(self, sequences: Sequence[PackedSequence]) -> Iterator[tuple[int, Outcome]]:
        """Score groups, those of like lengths together.

        A pass that fails is cut in two, until a group that fails by itself is alone with its error.

        Yields:
            The number of a group and what came out, in the order in which the passes end.
        Raises:
            DeviceError: the device cannot be used any more, for whichever group.
        """
        lengths = [sequence.n_tokens for sequence in sequences]
        # Groups with and without media, or with different ones, need different inputs.
        kinds = [_kind(sequence) for sequence in sequences]
        waiting = bucket_by_length(lengths, kinds, self.max_batch_tokens)
        while waiting:
            batch = waiting.pop(0)
            try:
                with errors_at(""):
                    outcomes: Sequence[Outcome] = self._score_batch([sequences[index] for index in batch])
            except YojError as error:
                if not is_of_one_group(error):
                    raise
                if len(batch) > 1:
                    if isinstance(error, OutOfMemoryError):
                        self._shrink(len(batch) * max(lengths[index] for index in batch))
                    half = len(batch) // 2
                    waiting = [batch[:half], batch[half:], *waiting]
                    outcomes = []
                else:
                    outcomes = [error]
            yield from zip(batch, outcomes, strict=False)

    def describe_usage(self) -> str:
        """Where the time went, in one line for a person."""
        usage, memory = self.usage, self.memory
        passes, places = max(usage.n_passes, 1), max(usage.n_padded, 1)
        line = (
            f"device idle {usage.waited_s / max(usage.seconds, 1e-9):.0%} of {usage.seconds:.1f} s, waiting for groups"
            f" · {usage.n_passes:,} passes of {usage.n_groups / passes:.1f} groups"
            f" · {1 - usage.n_tokens / places:.0%} padding"
        )
        known = memory.n_asked - memory.n_encoded
        media = f" · media: features of {known:,} of {memory.n_asked:,} groups were known"
        return line + (media if memory.n_asked else "")

    @torch.inference_mode()
    def _score_batch(self, sequences: Sequence[PackedSequence]) -> list[Scored]:
        with self._lock:
            return self._read(sequences)

    def _read(self, sequences: Sequence[PackedSequence]) -> list[Scored]:
        started = time.perf_counter()
        if len(sequences) > 1:
            found = batch_scores(self.backbone, self.head, sequences, memory=self.memory)
        else:
            found = [self._score_alone(sequences[0])]
        flat = torch.cat([branch for branches in found for branch in branches]).tolist()  # one wait for all
        seconds = time.perf_counter() - started
        n_tokens = sum(sequence.n_tokens for sequence in sequences)
        self._count(sequences, n_tokens)
        scores = iter(flat)
        return [
            Scored(
                [[next(scores) for _ in score_positions] for score_positions in sequence.score_positions],
                seconds * sequence.n_tokens / n_tokens,
            )
            for sequence in sequences
        ]

    def _score_alone(self, sequence: PackedSequence) -> list[torch.Tensor]:
        """One group, by fewer and fewer branches at a time until it fits."""
        max_tokens_per_forward = self.max_tokens_per_forward
        while True:
            try:
                found = branch_scores(
                    self.backbone,
                    self.head,
                    sequence,
                    max_tokens_per_forward=max_tokens_per_forward,
                    memory=self.memory,
                )
            except OutOfMemoryError:
                smaller = _smaller_forward(sequence, max_tokens_per_forward)
                if smaller is None:
                    raise
                max_tokens_per_forward = smaller
            else:
                # Not before: a group that fits in no way says nothing about others.
                self.max_tokens_per_forward = max_tokens_per_forward
                return found
            self._give_memory_back()

    def _shrink(self, n_padded: int) -> None:
        self.max_batch_tokens = max(min(self.max_batch_tokens, n_padded) // 2, 1)
        self._give_memory_back()

    def _give_memory_back(self) -> None:
        self.memory.clear()
        if self.backbone.device.type == "cuda":
            torch.cuda.empty_cache()

    def _count(self, sequences: Sequence[PackedSequence], n_tokens: int) -> None:
        usage = self.usage
        usage.n_passes += 1
        usage.n_groups += len(sequences)
        usage.n_tokens += n_tokens
        usage.n_padded += len(sequences) * max(sequence.n_tokens for sequence in sequences)


def _smaller_forward(sequence: PackedSequence, max_tokens_per_forward: int) -> int | None:
    """A number of tokens that cuts a group into more passes; None where each pass has but one branch."""
    n_now = len(list(cut_branches(sequence, max_tokens_per_forward)))
    if n_now == len(sequence.score_positions):
        return None
    smaller = min(max_tokens_per_forward, sequence.n_tokens)
    while len(list(cut_branches(sequence, smaller))) <= n_now:
        smaller //= 2
    return smaller


def _kind(sequence: PackedSequence) -> tuple[str, ...]:
    return tuple(sorted(sequence.media_inputs))
