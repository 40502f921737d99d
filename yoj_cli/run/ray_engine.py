"""A run on many machines: Ray Data hands shards to a pool of actors, each with a judge."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from yoj_cli.config.run import RunConfig
from yoj_cli.errors import DeviceError, UsageError, first_few, require
from yoj_cli.run.places import read_shard_manifest, shard_path
from yoj_cli.run.settings import take_over
from yoj_cli.run.shard_task import ShardedRun, ShardScorer

N_TRIES = 3
"""Of a shard that fails, in one run of the command."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        n_done, n_failed: groups of all shards, and those whose line is an error.
        n_before: shards that were done before.
    """

    n_done: int
    n_failed: int
    n_shards: int
    n_before: int


def score_on_ray(
    run: ShardedRun, config: RunConfig, *, report: Callable[[int, int], None] = lambda n_done, n_all: None
) -> Outcome:
    """Do the shards that are not done yet.

    Args:
        report: called with the number of shards that are done, and of all.
    Raises:
        UsageError: shards are there and --resume is not given, or they are of another run.
        DeviceError: Ray or a shard failed.
    """
    found = {
        shard: read_shard_manifest(shard_path(run.output, shard, run.n_shards))
        for shard in range(run.n_shards)
    }
    finished = {
        shard: manifest for shard, manifest in found.items() if manifest is not None and manifest.finished
    }
    if finished and not config.resume:
        raise UsageError(
            f"{len(finished)} of {run.n_shards} shards are there already",
            where=run.output,
            hint="Go on with --resume, or give another file.",
        )
    if finished:
        earlier = next(iter(finished.values()))
        run = replace(run, earlier=earlier, judge=take_over(run.judge, earlier))
    done = {shard: (manifest.n_done, manifest.n_failed) for shard, manifest in finished.items()}
    errors: dict[int, str] = {}
    with _connected(config):
        for _ in range(N_TRIES):
            todo = [shard for shard in range(run.n_shards) if shard not in done]
            if not todo:
                break
            report(len(done), run.n_shards)
            for row in _score(run, todo, config):
                if row["error"]:
                    errors[row["shard"]] = row["error"]
                    continue
                done[row["shard"]] = (row["n_done"], row["n_failed"])
                report(len(done), run.n_shards)
            if run.stops and len(done) < run.n_shards:
                break  # what stops a run is no accident
    missing = [shard for shard in range(run.n_shards) if shard not in done]
    if missing:
        raise DeviceError(
            f"shards {first_few([str(shard) for shard in missing], 10)} of {run.n_shards} were not done: "
            f"{errors.get(missing[0], 'their process died')}",
            hint="The others are kept; the same command with --resume does what is missing.",
        )
    n_done, n_failed = (sum(column) for column in zip(*done.values(), strict=True))
    return Outcome(n_done, n_failed, run.n_shards, len(finished))


def _score(run: ShardedRun, todo: Sequence[int], config: RunConfig) -> Iterator[dict[str, Any]]:
    """What becomes of each shard, as it becomes known; an actor that dies is replaced, and its shard done again."""
    import ray

    n_gpus = config.gpus_per_worker
    if n_gpus is None:
        n_gpus = 1.0 if run.judge.device != "cpu" and ray.cluster_resources().get("GPU") else 0.0
    n_workers = config.workers or _room(n_gpus, config.cpus_per_worker)
    dataset = ray.data.from_items(
        [{"shard": shard} for shard in todo], override_num_blocks=len(todo)
    ).map_batches(
        ShardScorer,
        fn_constructor_kwargs={"run": run},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(n_workers, len(todo))),
        batch_size=1,
        batch_format="default",
        num_gpus=n_gpus,
        num_cpus=config.cpus_per_worker,
    )
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.RayError as error:
        raise DeviceError(
            f"Ray gave up: {str(error).splitlines()[0]}",
            hint="Shards that are done are kept; the same command with --resume goes on.",
        ) from error


def _room(n_gpus: float, n_cpus: float) -> int:
    """Workers that the cluster has room for."""
    import ray

    has = ray.cluster_resources()
    rooms = [has.get(name, 0.0) / each for name, each in (("GPU", n_gpus), ("CPU", n_cpus)) if each]
    n = int(min(rooms, default=1.0))
    if n < 1:
        raise DeviceError(
            f"a worker needs {n_gpus:g} GPUs and {n_cpus:g} CPUs, and the cluster has {has.get('GPU', 0):g} and "
            f"{has.get('CPU', 0):g}",
            hint="See --gpus-per-worker and --cpus-per-worker.",
        )
    return n


@contextmanager
def _connected(config: RunConfig) -> Iterator[None]:
    """A connection to the cluster, else a Ray of this machine for as long as it is needed; quiet."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ part speaks on standard error
    require("--engine ray", "ray", extra="ray")
    import ray
    import ray.data

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    own: dict[str, Any] = {"include_dashboard": False} if config.ray_address is None else {}
    try:
        ray.init(address=config.ray_address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DeviceError(
            f"there is no Ray cluster to connect to: {str(error).splitlines()[0]}", where="--ray-address"
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        ray.shutdown()
