"""A stream of groups on its way through a judge: the core loop, top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from yoj_cli.errors import ModelError, YojError, errors_at, is_of_one_group
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import Plan
from yoj_cli.plan.join import join, order_agreement
from yoj_cli.records.memory import count_bytes
from yoj_cli.records.selection import BLOCK
from yoj_cli.scoring.engine import Engine, Outcome, Scored
from yoj_cli.scoring.prefetch import Prefetcher
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.verdicts.verdict import Verdict, build_verdict

PREFETCHED_BATCHES = 4
"""Groups are prepared ahead up to the tokens of so many batches: the more, the better their lengths match."""

PREFETCHED_BYTES = 256 << 20
"""Of pixels as the judge takes them, of the lines that groups come from, and of all that is prepared ahead or read
together: a group counts for its tokens, or for its share of these bytes where that is more. Molmo2 takes 12 to 17 KB a
token, Qwen3-VL 24."""

FAILURE_TOKENS = 64
"""What a group that cannot be scored counts for in that, at least."""


@dataclass(frozen=True)
class Prepared:
    """A group, the branches to read and what is read."""

    group: Group
    plan: Plan
    sequence: PackedSequence


class Scorer(Protocol):
    """What a stream asks of a judge, each time anew: the judge may be closed before the stream ends."""

    temperature: float

    @property
    def engine(self) -> Engine: ...

    def prepare(self, group: Group, options: MediaOptions) -> tuple[Plan, PackedSequence]: ...


def score_stream(
    judge: Scorer,
    groups: Iterable[Group | Failure],
    options: MediaOptions,
    *,
    live: bool,
    n_before: int = 0,
    after_window: Callable[[], None] = lambda: None,
) -> Generator[Verdict | Failure, None, None]:
    """Score a stream of groups.

    What always holds:
    - Results come in the order of the input, whatever is read together.
    - Memory does not grow with the stream: at most two windows of PREFETCHED_BATCHES or PREFETCHED_BYTES are held, one
      that is scored and one that is prepared.
    - Which groups share a forward pass follows from the stream alone: the same file gives the same bits. Windows end
      with each BLOCK of groups, so that blocks give the same bits wherever they are scored.
    - A live stream gives that up, so that nothing waits for a slow pipe: what has come is scored.
    - A group that cannot be scored costs itself: its Failure comes in its place.
    - A stream that cannot be read on, or a device that is lost, ends the stream after all results before that place.

    Args:
        groups: read in a thread of its own, and closed at the end if it can be.
        live: see above.
        n_before: groups of the same run that came before this stream, in another session.
        after_window: called where a window of groups ends, when its results have been taken: a stream that begins
            with the next group gives the same bits from there on.
    Raises:
        YojError: what ended the stream.
    """
    # 1. Read the groups and prepare them (media, tokens), ahead of the device and in threads.
    usage, max_tokens = judge.engine.usage, PREFETCHED_BATCHES * judge.engine.limits.max_batch_tokens
    prepare = partial(prepare_group, judge, options)
    size = partial(size_of, bytes_per_token=PREFETCHED_BYTES / max_tokens)
    with Prefetcher(
        prepare, groups, size=size, max_size=max_tokens, cut_every=BLOCK, n_before=n_before
    ) as prefetched:
        while True:
            # 2. Wait for the next window of groups.
            started = time.perf_counter()
            window = prefetched.take(live=live)
            usage.waited_s += time.perf_counter() - started
            if not window:
                return

            # 3. Bucket by length: batches of groups, the one with the first group first.
            prepared = {place: item for place, item in enumerate(window) if isinstance(item, Prepared)}
            results: dict[int, Verdict | Failure | YojError] = {
                place: item for place, item in enumerate(window) if isinstance(item, Failure)
            }
            batches = iter(judge.engine.bucket({place: each.sequence for place, each in prepared.items()}))
            for place in range(len(window)):
                if place not in results:
                    # 4. Forward: the next batch is the one that holds this group.
                    started = time.perf_counter()
                    batch = next(batches)
                    outcomes = judge.engine.score([prepared[each].sequence for each in batch])

                    # 5. Join the scores of each group's branches.
                    for each, outcome in zip(batch, outcomes, strict=True):
                        results[each] = conclude(prepared[each], outcome, judge.temperature)
                    usage.busy_s += time.perf_counter() - started

                # 6. Emit, in the order of the input.
                result = results.pop(place)
                if isinstance(result, YojError):
                    raise result
                yield result
            after_window()
            del window, prepared, results, result  # before the next window is waited for


def prepare_group(judge: Scorer, options: MediaOptions, item: Group | Failure) -> Prepared | Failure:
    """Everything before the forward pass; what is wrong with the group itself is its Failure.

    Raises:
        YojError: it is not of this group alone.
    """
    if isinstance(item, Failure):
        return item
    try:
        return Prepared(item, *judge.prepare(item, options))
    except YojError as error:
        if not is_of_one_group(error):
            raise
        return Failure(item.where, item.record, error)


def size_of(item: Prepared | Failure, *, bytes_per_token: float) -> int:
    """What an item counts for while it waits for the device, in tokens; see PREFETCHED_BYTES."""
    if isinstance(item, Failure):
        return max(FAILURE_TOKENS, int(count_bytes(item.record) / bytes_per_token))
    n_bytes = sum(tensor.nbytes for tensor in item.sequence.media_inputs.values())
    n_bytes += count_bytes(item.group.record)
    return max(item.sequence.n_tokens, int(n_bytes / bytes_per_token))


def conclude(prepared: Prepared, outcome: Outcome, temperature: float) -> Verdict | Failure | YojError:
    """What is said of a group; an error that is not of this group alone stays as it is."""
    if isinstance(outcome, YojError) and not is_of_one_group(outcome):
        return outcome
    try:
        with errors_at(prepared.group.where):
            if isinstance(outcome, YojError):
                raise outcome
            return _build_verdict(prepared, outcome, temperature)
    except YojError as error:
        return Failure(prepared.group.where, prepared.group.record, error)


def _build_verdict(prepared: Prepared, scored: Scored, temperature: float) -> Verdict:
    if not all(math.isfinite(value) for branch in scored.values for value in branch):
        raise ModelError(
            "the judge gave a score that is no number",
            hint="Try --dtype bfloat16 or float32; if it persists the weights are damaged.",
        )
    scores, spread = join(prepared.plan, scored.values)
    return build_verdict(
        prepared.group,
        scores,
        spread=spread,
        order_agreement=order_agreement(prepared.plan, scored.values, scores),
        n_orders=prepared.plan.n_orders,
        n_tokens=prepared.sequence.n_tokens,
        seconds=scored.seconds,
        temperature=temperature,
    )
