"""One device and the forward passes on it: a batch of groups goes in, their scores and errors come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from yoj_cli.errors import YojError
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import ValueHead
from yoj_cli.scoring.batch import bucket
from yoj_cli.scoring.forward import MAX_TOKENS_PER_FORWARD, batch_scores, branch_scores
from yoj_cli.scoring.oom import Limits, score_within_memory
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
        busy_s: time in streams in which groups were scored.
    """

    n_passes: int = 0
    n_groups: int = 0
    n_tokens: int = 0
    n_padded: int = 0
    waited_s: float = 0.0
    busy_s: float = 0.0


class Engine:
    """Scores sequences on one device, one forward pass at a time, whoever asks.

    Attributes:
        limits: how much one pass reads; see `oom`.
        vision_cache: features of the media seen last.
        usage: running totals.
    """

    def __init__(self, backbone: Backbone, head: ValueHead, max_batch_tokens: int | None = None) -> None:
        self.backbone, self.head = backbone, head
        self.limits = Limits(
            max_batch_tokens or BATCH_TOKENS[backbone.device.type],
            max_tokens_per_forward=MAX_TOKENS_PER_FORWARD,
        )
        self.vision_cache = VisionFeatureCache()
        self.usage = Usage()
        self._lock = threading.Lock()

    def bucket(self, sequences: Mapping[int, PackedSequence]) -> list[list[int]]:
        """Which groups are read in one pass: like lengths together, and media of the same kinds.

        Returns:
            Their keys, each once; the batch that holds the lowest comes first, and so on.
        """
        keys = sorted(sequences)
        batches = bucket([sequences[key] for key in keys], self.limits.max_batch_tokens)
        return [[keys[index] for index in batch] for batch in batches]

    @torch.inference_mode()
    def score(self, batch: Sequence[PackedSequence]) -> list[Outcome]:
        """Score groups in one forward pass, or in smaller ones where it fails; see `score_within_memory`.

        Args:
            batch: one of `bucket`.
        Returns:
            For each group its scores, or the error with which it failed alone.
        """
        with self._lock:
            return score_within_memory(batch, self._forward, self.limits, self._free)

    def describe_usage(self) -> str:
        """Where the time went, in one line for a person."""
        usage, cache = self.usage, self.vision_cache
        passes, places, seconds = (
            max(usage.n_passes, 1),
            max(usage.n_padded, 1),
            usage.waited_s + usage.busy_s,
        )
        line = (
            f"device idle {usage.waited_s / max(seconds, 1e-9):.0%} of {seconds:.1f} s, waiting for groups"
            f" · {usage.n_passes:,} passes of {usage.n_groups / passes:.1f} groups"
            f" · {1 - usage.n_tokens / places:.0%} padding"
        )
        known = cache.n_asked - cache.n_encoded
        media = f" · media: features of {known:,} of {cache.n_asked:,} groups were known"
        return line + (media if cache.n_asked else "")

    def _forward(self, sequences: Sequence[PackedSequence], max_tokens: int) -> list[Scored]:
        """One pass over several groups, or over one in parts of `max_tokens`."""
        started = time.perf_counter()
        if len(sequences) > 1:
            found = batch_scores(self.backbone, self.head, sequences, vision_cache=self.vision_cache)
        else:
            alone = branch_scores(
                self.backbone,
                self.head,
                sequences[0],
                max_tokens_per_forward=max_tokens,
                vision_cache=self.vision_cache,
            )
            found = [alone]
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

    def _free(self) -> None:
        self.vision_cache.clear()
        if self.backbone.device.type == "cuda":
            torch.cuda.empty_cache()

    def _count(self, sequences: Sequence[PackedSequence], n_tokens: int) -> None:
        usage = self.usage
        usage.n_passes += 1
        usage.n_groups += len(sequences)
        usage.n_tokens += n_tokens
        usage.n_padded += len(sequences) * max(sequence.n_tokens for sequence in sequences)
