"""Continuous batching: groups of all requests on their way through one judge, or one on each of several devices.

    submit -> lanes (fair queues) -> threads that prepare -> ready -> a thread for each device -> Job.deliver

A device takes what is ready at that moment, up to its token budget and like lengths together, and nothing waits for
groups that are yet to come. Groups of text, those with pictures, and those that may be slow to prepare (a clip,
something on the network) wait in lanes of their own, so that none keeps a thread from the others.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from yoj_cli.errors import YojError, errors_at
from yoj_cli.groups import Failure, Group, scheme_of
from yoj_cli.scoring.engine import Outcome
from yoj_cli.scoring.judge import Judge
from yoj_cli.scoring.stream import (
    PREFETCHED_BATCHES,
    PREFETCHED_BYTES,
    Prepared,
    conclude,
    prepare_group,
    size_of,
)
from yoj_cli.serve.fair_queue import FairQueue, Job, Result, Work

LANES = ("text", "pictures", "slow")

PATIENCE_S = 1.5
"""How long the end waits for threads that are at work."""

MAX_THREADS = 4
"""Threads that prepare groups, a lane."""


@dataclass(eq=False)
class _Ready:
    """A group that is prepared; `size_tokens` is its `size_of`, `since_s` when it was there."""

    work: Work
    prepared: Prepared
    size_tokens: int
    since_s: float = field(default_factory=time.monotonic)


class Scheduler:
    """Scores groups of many requests together; from any thread.

    Args:
        judges: the same judge, on a device each.
        lost: called once, when no device is left.
    """

    def __init__(self, judges: Sequence[Judge], *, lost: Callable[[YojError], None] = lambda _: None) -> None:
        self._judges, self._lost = judges, lost
        self._changed = threading.Condition()
        self._lanes = {name: FairQueue() for name in LANES}
        self._ready: list[_Ready] = []
        self._n_devices, self._is_closed = len(judges), False
        self._error: YojError | None = None
        self._max_ready_tokens = PREFETCHED_BATCHES * sum(
            each.engine.limits.max_batch_tokens for each in judges
        )
        self._bytes_per_token = len(judges) * PREFETCHED_BYTES / self._max_ready_tokens
        n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        n_threads = min(n_cores, MAX_THREADS)
        begun = [partial(self._prepare, lane) for lane in self._lanes.values() for _ in range(n_threads)]
        begun += [partial(self._drive, judge) for judge in judges]
        self._threads = [threading.Thread(target=each, name="yoj-serve", daemon=True) for each in begun]
        for thread in self._threads:
            thread.start()

    @property
    def n_waiting(self) -> int:
        """Groups that are neither scored nor on a device."""
        return sum(map(len, self._lanes.values())) + len(self._ready)

    def submit(self, job: Job, groups: Mapping[int, Group]) -> None:
        """Have groups scored; `job.deliver` gets a result for each place."""
        works = [Work(job, place, group) for place, group in groups.items()]
        with self._changed:
            error = self._error
            if error is None:
                for name, lane in self._lanes.items():
                    lane.put([work for work in works if _lane_of(work.group) == name])
                self._changed.notify_all()
        if error is not None:
            _fail(works, error)

    def cancel(self, job: Job) -> None:
        """Forget a request: what is not on a device yet never gets there."""
        with self._changed:
            job.is_over = True
            for lane in self._lanes.values():
                lane.drop(job)
            self._ready = [each for each in self._ready if each.work.job is not job]
            self._changed.notify_all()

    def close(self) -> None:
        """Stop after the passes that are running; what waits is forgotten."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + PATIENCE_S
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():  # in a pass, or a clip: by this name the program knows not to wait for it
                thread.name = f"yoj-prefetch-{thread.name}"

    def _prepare(self, lane: FairQueue) -> None:
        while (work := self._take_work(lane)) is not None:
            item = self._prepare_one(work)
            if isinstance(item, Failure):
                _deliver([(work, item)])
                continue
            size_tokens = size_of(item, bytes_per_token=self._bytes_per_token)
            with self._changed:
                error = self._error  # the last device may have been lost meanwhile, and nobody takes it then
                if error is None and not work.job.is_over:
                    self._ready.append(_Ready(work, item, size_tokens))
                    self._changed.notify_all()
            if error is not None:
                _fail([work], error)

    def _prepare_one(self, work: Work) -> Prepared | Failure:
        group, job = work.group, work.job
        options = replace(
            job.options, is_wanted=lambda: not job.is_over
        )  # a list may name thousands of frames
        try:
            with errors_at(group.where):
                return prepare_group(self._judges[0], options, group)
        except YojError as error:
            return Failure(group.where, group.record, error)

    def _take_work(self, lane: FairQueue) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or (len(lane) and self._has_room()))
            return None if self._is_closed else lane.take()

    def _has_room(self) -> bool:
        return sum(each.size_tokens for each in self._ready) < self._max_ready_tokens

    def _drive(self, judge: Judge) -> None:
        """Score whatever is ready, until the device is lost."""
        while batch := self._take_batch(judge):
            outcomes = _score(judge, batch)
            results: list[tuple[Work, Result]] = []
            for each, outcome in zip(batch, outcomes, strict=True):
                found = conclude(each.prepared, outcome, judge.temperature)
                if isinstance(found, YojError):
                    lost = batch[len(results) :]
                    _deliver(results)
                    self._lose(lost, found)
                    return
                results.append((each.work, found))
            _deliver(results)

    def _take_batch(self, judge: Judge) -> list[_Ready]:
        """Of what is ready, the batch with the group that has waited longest; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._ready)
            if self._is_closed:
                return []
            ready = sorted(self._ready, key=lambda each: each.since_s)
            (places, *_) = judge.engine.bucket(
                {place: each.prepared.sequence for place, each in enumerate(ready)}
            )
            taken = set(places)
            self._ready = [each for place, each in enumerate(ready) if place not in taken]
            self._changed.notify_all()
            return [ready[place] for place in places]

    def _lose(self, batch: Sequence[_Ready], error: YojError) -> None:
        """A device is gone: the others go on with what it had, or all that waits fails."""
        with self._changed:
            self._n_devices -= 1
            if self._n_devices:
                self._ready = [*batch, *self._ready]
                self._changed.notify_all()
                return
            self._error = error
            works = [each.work for each in (*batch, *self._ready)]
            self._ready = []
            for lane in self._lanes.values():
                works += [lane.take() for _ in range(len(lane))]
        self._lost(error)
        _fail(works, error)


def _lane_of(group: Group) -> str:
    """By what it may cost to prepare; the name of one of LANES."""
    if not group.media:
        return "text"
    is_quick = all(
        each.kind == "image" and (each.path or scheme_of(str(each.source)) == "data") for each in group.media
    )
    return "pictures" if is_quick else "slow"


def _score(judge: Judge, batch: Sequence[_Ready]) -> Sequence[Outcome]:
    """A pass over a batch. A bug costs these groups, and not the thread without which no group would be scored."""
    try:
        with errors_at(""):
            return judge.engine.score([each.prepared.sequence for each in batch])
    except YojError as error:
        return [error] * len(batch)


def _fail(works: Sequence[Work], error: YojError) -> None:
    _deliver([(work, Failure(work.group.where, work.group.record, error)) for work in works])


def _deliver(results: Sequence[tuple[Work, Result]]) -> None:
    by_job: dict[Job, list[tuple[int, Result]]] = {}
    for work, result in results:
        by_job.setdefault(work.job, []).append((work.place, result))
    for job, found in by_job.items():
        if not job.is_over:
            job.deliver(found)
