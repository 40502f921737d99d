"""Long runs: going on after an interruption, and parts of a run on several machines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import Options, not_negative, option, positive
from yoj_cli.errors import UsageError

SHARD_VARIABLES = (("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"), ("RANK", "WORLD_SIZE"))
"""Where a scheduler says which of how many processes this one is; an array task may itself run several ranks."""


def _valid_shard(value: str) -> str | None:
    if value == "auto":
        return None
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal()):
        return f"{value!r} is neither auto nor I/N, such as 0/8"
    if int(index) >= int(count):
        return f"{value!r}: shards are numbered from 0, so the last of {count} is {int(count) - 1}/{count}"
    return None


def valid_devices(value: str) -> str | None:
    numbers = value.split(",")
    if value == "all" or (all(map(str.isdecimal, numbers)) and len({*map(int, numbers)}) == len(numbers)):
        return None
    return f"{value!r} is neither all nor different numbers of GPUs, such as 0,1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig(Options):
    """How a long run goes on, and which part of it this process does."""

    resume: bool = option(
        False, "Go on with the run whose results -o FILE holds; begin it if there are none yet."
    )
    retry_failed: bool = option(
        False, "With --resume: when no group is left, score those again whose line is an error."
    )
    shard: str | None = option(
        None,
        "Do part I of N (0/8 … 7/8) and write FILE.I-of-N; auto asks SLURM_ARRAY_TASK_ID/_COUNT, else "
        "RANK/WORLD_SIZE. `yoj gather` joins the parts.",
        metavar="I/N",
        check=_valid_shard,
    )
    output_dir: Path | None = option(
        None, "Write the results of each FILE to a file of its name in this folder.", metavar="DIR"
    )

    workers: int | None = option(
        None, "Score in N processes, each with a judge of its own.", metavar="N", check=positive
    )
    devices: str | None = option(
        None,
        "Score in a process on each of these GPUs: all, or numbers such as 0,1.",
        metavar="LIST",
        check=valid_devices,
    )

    engine: Literal["local", "ray"] = option(
        "local",
        "ray scores shard by shard on the machines of a Ray cluster (without --ray-address on this one); FILE and -o "
        "may then be addresses (s3://, gs://, hf://), and -o FILE comes as shards for `yoj gather`.",
    )
    shards: int = option(
        64, "With --engine ray: parts of the run, each done as a whole.", metavar="N", check=positive
    )
    ray_address: str | None = option(
        None, "With --engine ray: the cluster's address, or auto.", metavar="ADDRESS"
    )
    gpus_per_worker: float | None = option(
        None,
        "With --engine ray: default 1 where the cluster has any, else 0.",
        metavar="N",
        check=not_negative,
    )
    cpus_per_worker: float = option(1.0, "With --engine ray.", metavar="N", check=positive)

    def check_together(self) -> None:
        if self.engine == "ray" and (self.shard or self.devices or self.output_dir or self.retry_failed):
            raise UsageError(
                "contradicts --shard, --devices, --output-dir and --retry-failed", where="--engine ray"
            )
        if self.workers and self.devices:
            raise UsageError("contradicts --devices, which starts a process a GPU", where="--workers")
        if self.retry_failed and not self.resume:
            raise UsageError("needs --resume and the results of a run", where="--retry-failed")

    @property
    def shard_of(self) -> tuple[int, int]:
        """Which shard of how many; (0, 1) is the whole.

        Raises:
            UsageError: auto, and no scheduler says it.
        """
        if self.shard is None:
            return 0, 1
        if self.shard != "auto":
            index, _, count = self.shard.partition("/")
            return int(index), int(count)
        for index_name, count_name in SHARD_VARIABLES:
            index, count = os.environ.get(index_name, ""), os.environ.get(count_name, "")
            first = int(os.environ.get("SLURM_ARRAY_TASK_MIN", "0")) if index_name.startswith("SLURM") else 0
            if index.isdecimal() and count.isdecimal() and 0 <= int(index) - first < int(count):
                return int(index) - first, int(count)
        names = " nor ".join(f"{index}/{count}" for index, count in SHARD_VARIABLES)
        raise UsageError(f"auto, but neither {names} says which of how many this is", where="--shard")
