"""`yoj score --engine ray`: the same command on the machines of a cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import typer

from yoj_cli.cli.input import build_media_options, check_paths
from yoj_cli.cli.messages import say
from yoj_cli.cli.progress import show_status
from yoj_cli.config.io import InputConfig, OnError, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.run import RunConfig
from yoj_cli.errors import ExitCode, UsageError
from yoj_cli.records.stores import address_of, find_files, is_store
from yoj_cli.run.manifest import fingerprint

SAY_EVERY_S = 10.0


def score_on_ray(
    judge: JudgeConfig,
    media: InputConfig,
    output: OutputConfig,
    run: RunConfig,
    files: Sequence[str] | None,
    *,
    limit: int | None,
    on_error: OnError,
) -> None:
    """Score shard by shard, and say what became of it."""
    if output.output is None or output.format not in ("auto", "jsonl") or not files or "-" in files:
        raise UsageError("needs files to read, and -o FILE as JSON Lines to write", where="--engine ray")
    from yoj_cli.run import ray_engine
    from yoj_cli.run.shard_task import ShardedRun

    paths = find_files(list(files))
    local = [path for path in paths if not is_store(path)]
    if local:
        check_paths(local)
    sharded = ShardedRun(
        inputs=fingerprint([path if is_store(path) else os.path.abspath(path) for path in paths]),
        output=address_of(output.output),
        n_shards=run.shards,
        judge=judge.resolved(),
        media=build_media_options(media),
        limits=media,
        media_root=None if media.media_root is None else str(media.media_root.resolve()),
        top=output.top,
        limit=limit,
        stops=on_error == "stop",
    )
    started = time.perf_counter()
    with show_status() as tell:
        last_said = started

        def report(n_done: int, n_all: int) -> None:
            nonlocal last_said
            tell(f"{n_done:,} of {n_all:,} shards")
            is_watched = sys.stderr is not None and sys.stderr.isatty()
            if not output.quiet and not is_watched and time.perf_counter() - last_said > SAY_EVERY_S:
                last_said = time.perf_counter()
                say(f"{n_done:,} of {n_all:,} shards are done")

        done = ray_engine.score_on_ray(sharded, run, report=report)
    if not output.quiet:
        failed = f", {done.n_failed:,} of them with an error" if done.n_failed else ""
        before = f" ({done.n_before:,} were there before)" if done.n_before else ""
        say(
            f"{done.n_done:,} groups{failed}, in {done.n_shards:,} shards{before} · "
            f"{time.perf_counter() - started:.1f} s; join them with `yoj gather`"
        )
    if done.n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
