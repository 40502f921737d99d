"""What scores the groups of a run: a judge in this process, or one in each of several."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from yoj_cli.checkpoint.content_hash import content_hash
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.run import RunConfig
from yoj_cli.errors import DeviceError, UsageError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.run.load import load_judge
from yoj_cli.run.settings import settings_of
from yoj_cli.run.workers import Workers
from yoj_cli.scoring.judge import Judge
from yoj_cli.verdicts.verdict import Verdict


class Scorer(Protocol):
    """A judge, or several, as a run sees it."""

    @property
    def description(self) -> Mapping[str, Any]:
        """See `Judge.description`."""

    @property
    def has_shrunk(self) -> bool:
        """Memory ran out at some time, and less is read together since."""

    def settings(self) -> Mapping[str, Any]:
        """What the manifest of a run says of the judge."""

    def describe_usage(self) -> str:
        """Where the time went, for a person."""

    def score_groups(
        self,
        groups: Iterable[Group | Failure],
        *,
        media: MediaOptions,
        live: bool,
        n_before: int,
        after_window: Callable[[], None],
    ) -> Generator[Verdict | Failure, None, None]:
        """See `Judge.score_groups`."""


class LocalScorer:
    """One judge, loaded in this process."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.score_groups = judge.score_groups
        self._max_batch_tokens = judge.engine.limits.max_batch_tokens  # before any of it is taken back

    @property
    def description(self) -> Mapping[str, Any]:
        return self.judge.description

    @property
    def has_shrunk(self) -> bool:
        return self.judge.engine.limits.have_shrunk

    def settings(self) -> Mapping[str, Any]:
        judge = self.judge
        return settings_of(
            judge.description, content_hash(judge.checkpoint), judge.max_tokens, self._max_batch_tokens
        )

    def describe_usage(self) -> str:
        """See `Engine.describe_usage`."""
        return self.judge.engine.describe_usage()


@contextmanager
def open_scorer(
    config: JudgeConfig, run: RunConfig, *, say: Callable[[str], None] = lambda text: None
) -> Iterator[LocalScorer | Workers]:
    """Load the judge, here or in as many processes as the options ask for.

    Raises:
        UsageError: options that contradict each other.
        ModelError, DeviceError: the judge or a device cannot be used.
    """
    config = config.resolved()
    configs = [replace(config, device=device) for device in _devices(config, run)]
    if not configs:
        yield LocalScorer(load_judge(config))
        return
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with Workers(configs, n_threads=max(1, n_cores // len(configs)), say=say) as workers:
        yield workers


def _devices(config: JudgeConfig, run: RunConfig) -> list[str]:
    """The device of each process; empty where this process alone is asked for."""
    if run.devices is None:
        return [config.device] * (run.workers or 0)
    return find_devices(config, run.devices, hint="Use --workers N on a CPU.")


def find_devices(config: JudgeConfig, devices: str, *, hint: str) -> list[str]:
    """The GPUs that --devices names.

    Args:
        hint: what to do where there is none.
    Raises:
        UsageError: --device names one too.
        DeviceError: there is no GPU.
    """
    if config.device != "auto":
        raise UsageError("contradicts --device", where="--devices")
    import torch

    n_found = torch.cuda.device_count()
    if n_found == 0:
        raise DeviceError("no CUDA GPU was found", where="--devices", hint=hint)
    if devices == "all":
        return [f"cuda:{number}" for number in range(n_found)]
    return [f"cuda:{number}" for number in devices.split(",")]
