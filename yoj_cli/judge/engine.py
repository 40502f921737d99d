"""What keeps the device busy: groups read together within a budget, and a smaller budget when memory runs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from yoj_cli.errors import OutOfMemoryError, YojError, errors_at, is_of_one_group
from yoj_cli.judge.backbone import Backbone
from yoj_cli.judge.features import FeatureMemory
from yoj_cli.judge.head import ValueHead
from yoj_cli.judge.layout import Layout
from yoj_cli.judge.rows import cut_rows
from yoj_cli.judge.scorer import PASS_TOKENS, batch_scores, branch_scores, cut_branches

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
    """Scores layouts on one device.

    Attributes:
        max_batch_tokens: rows times the longest row of a pass over several groups; halved when memory runs out.
        pass_tokens: a longer group is read by branches over its prefix's cache; halved likewise.
        memory: features of the media seen last.
        usage: running totals.
    """

    def __init__(self, backbone: Backbone, head: ValueHead, max_batch_tokens: int | None = None) -> None:
        self.backbone, self.head = backbone, head
        self.max_batch_tokens = max_batch_tokens or BATCH_TOKENS[backbone.device.type]
        self.pass_tokens = PASS_TOKENS
        self.memory = FeatureMemory()
        self.usage = Usage()
        self._lock = threading.Lock()  # one pass at a time, whoever asks

    def score(self, layouts: Sequence[Layout]) -> Iterator[tuple[int, Outcome]]:
        """Score groups, those of like lengths together.

        A pass that fails is cut in two, until a group that fails by itself is alone with its error.

        Yields:
            The number of a group and what came out, in the order in which the passes end.
        Raises:
            DeviceError: the device cannot be used any more, for whichever group.
        """
        lengths = [layout.n_tokens for layout in layouts]
        # Groups with and without media, or with different ones, need different inputs.
        kinds = [_kind(layout) for layout in layouts]
        waiting = cut_rows(lengths, kinds, self.max_batch_tokens)
        while waiting:
            batch = waiting.pop(0)
            try:
                with errors_at(""):
                    outcomes: Sequence[Outcome] = self._score_batch([layouts[index] for index in batch])
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
    def _score_batch(self, layouts: Sequence[Layout]) -> list[Scored]:
        with self._lock:
            return self._read(layouts)

    def _read(self, layouts: Sequence[Layout]) -> list[Scored]:
        started = time.perf_counter()
        if len(layouts) > 1:
            found = batch_scores(self.backbone, self.head, layouts, memory=self.memory)
        else:
            found = [self._score_alone(layouts[0])]
        flat = torch.cat([branch for branches in found for branch in branches]).tolist()  # one wait for all
        seconds = time.perf_counter() - started
        n_tokens = sum(layout.n_tokens for layout in layouts)
        self._count(layouts, n_tokens)
        scores = iter(flat)
        return [
            Scored(
                [[next(scores) for _ in ends] for ends in layout.ends], seconds * layout.n_tokens / n_tokens
            )
            for layout in layouts
        ]

    def _score_alone(self, layout: Layout) -> list[torch.Tensor]:
        """One group, by fewer and fewer branches at a time until it fits."""
        pass_tokens = self.pass_tokens
        while True:
            try:
                found = branch_scores(
                    self.backbone, self.head, layout, pass_tokens=pass_tokens, memory=self.memory
                )
            except OutOfMemoryError:
                smaller = _smaller_pass(layout, pass_tokens)
                if smaller is None:
                    raise
                pass_tokens = smaller
            else:
                self.pass_tokens = (
                    pass_tokens  # not before: a group that fits in no way says nothing about others
                )
                return found
            self._give_memory_back()

    def _shrink(self, n_padded: int) -> None:
        self.max_batch_tokens = max(min(self.max_batch_tokens, n_padded) // 2, 1)
        self._give_memory_back()

    def _give_memory_back(self) -> None:
        self.memory.clear()
        if self.backbone.device.type == "cuda":
            torch.cuda.empty_cache()

    def _count(self, layouts: Sequence[Layout], n_tokens: int) -> None:
        usage = self.usage
        usage.n_passes += 1
        usage.n_groups += len(layouts)
        usage.n_tokens += n_tokens
        usage.n_padded += len(layouts) * max(layout.n_tokens for layout in layouts)


def _smaller_pass(layout: Layout, pass_tokens: int) -> int | None:
    """A number of tokens that cuts a group into more passes; None where each pass has but one branch."""
    n_now = len(list(cut_branches(layout, pass_tokens)))
    if n_now == len(layout.ends):
        return None
    smaller = min(pass_tokens, layout.n_tokens)
    while len(list(cut_branches(layout, smaller))) <= n_now:
        smaller //= 2
    return smaller


def _kind(layout: Layout) -> tuple[str, ...]:
    return tuple(sorted(layout.media_inputs))
