"""From groups per second to hours, money and what becomes the limit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yoj_cli.config.plan_run import PlanRunConfig
from yoj_cli.errors import InputError, UsageError
from yoj_cli.records.selection import BLOCK

Limit = Literal["device", "decoding", "network", "loading", "too few groups"]
ONE_PASS = "e"
"""The key, in a document of `yoj bench-speed`, of reading a group in one pass."""


@dataclass(frozen=True)
class Workload:
    """What one device, one core and the storage do.

    Attributes:
        groups_per_s: of one device.
        load_s, decode_s, cores_per_device, mb_per_group, network_mb_per_s, price_per_hour: see `PlanRunConfig`.
        source: where `groups_per_s` comes from, for a person.
    """

    groups_per_s: float
    load_s: float
    decode_s: float
    cores_per_device: float
    mb_per_group: float
    network_mb_per_s: float
    price_per_hour: float | None
    source: str

    @property
    def decoded_per_s(self) -> float:
        """Groups that the cores beside one device prepare in a second; infinite where that costs nothing."""
        return self.cores_per_device / self.decode_s if self.decode_s else math.inf

    @property
    def fetched_per_s(self) -> float:
        """Groups whose media the storage gives in a second, to all devices together."""
        return self.network_mb_per_s / self.mb_per_group if self.mb_per_group else math.inf

    @property
    def useful_devices(self) -> float:
        """Beyond so many devices, the storage decides."""
        return self.fetched_per_s / min(self.groups_per_s, self.decoded_per_s)


@dataclass(frozen=True)
class Estimate:
    """A run of `n_groups` on `n_devices`.

    Attributes:
        wall_s: from the start to the last line.
        device_hours: paid for, loading included.
        cost: None without a price.
        limit: what more of would make it faster; what takes longest.
    """

    n_groups: int
    n_devices: int
    wall_s: float
    device_hours: float
    cost: float | None
    limit: Limit


def estimate(work: Workload, n_groups: int, n_devices: int) -> Estimate:
    """Time and cost; the slowest of scoring, decoding and fetching decides, as they go on side by side.

    A device's share is whole blocks of BLOCK groups, so that small runs on many devices leave some idle.
    """
    share = min(n_groups, math.ceil(math.ceil(n_groups / BLOCK) / n_devices) * BLOCK)
    steps: dict[Limit, float] = {
        "device": share / work.groups_per_s,
        "decoding": share / work.decoded_per_s,
        "network": n_groups / work.fetched_per_s,
    }
    limit = max(steps, key=lambda name: steps[name])
    busy_s = steps[limit]
    if work.load_s > busy_s:
        limit = "loading"
    elif n_groups < n_devices * BLOCK:
        limit = "too few groups"
    wall_s = work.load_s + busy_s
    device_hours = n_devices * wall_s / 3600
    cost = None if work.price_per_hour is None else device_hours * work.price_per_hour
    return Estimate(n_groups, n_devices, wall_s, device_hours, cost, limit)


def read_workload(config: PlanRunConfig, document: Path | None) -> Workload:
    """What is known, from options and from what `yoj bench-speed --json` wrote.

    Raises:
        UsageError: nothing says how fast a device is.
        InputError: the file is no document of bench-speed.
    """
    rate, tokens, source = config.groups_per_s, None, "--groups-per-s"
    if document is not None:
        measured, tokens, source = _read_benchmark(document)
        rate = rate or measured
    if rate is None:
        raise UsageError(
            "nothing says how fast a device is",
            hint="Give what `yoj bench-speed --json` wrote on it, or --groups-per-s X.",
        )
    if config.tokens_per_group is not None:
        if tokens is None:
            raise UsageError(
                "needs the tokens of the groups that were measured: give what `yoj bench-speed --json` wrote",
                where="--tokens-per-group",
            )
        rate *= tokens / config.tokens_per_group
        source += f", for {config.tokens_per_group:,.0f} tokens a group instead of {tokens:,.0f}"
    return Workload(
        rate,
        config.load_s,
        config.decode_s,
        config.cores_per_device,
        config.mb_per_group,
        config.network_mb_per_s,
        config.price_per_hour,
        source,
    )


def _read_benchmark(path: Path) -> tuple[float, float, str]:
    """Groups a second and tokens a group of the largest N that was measured, and what measured it."""
    try:
        document: Mapping[str, Any] = json.loads(path.read_bytes())
        run = max(document["runs"], key=lambda run: run["n"])
        (row,) = (each for each in run["variants"] if each["key"] == ONE_PASS)
        if row["error"] is not None:
            raise InputError(
                f"one pass over {run['n']} responses did not fit: {row['error']}", where=str(path)
            )
        source = f"{path}: {document['model']}, {document['device_name']}, N = {run['n']}"
        return float(row["groups_per_s"]), row["tokens"] / run["n_groups"], source
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError, RecursionError) as error:
        raise InputError(
            "is not what `yoj bench-speed --json` writes",
            where=str(path),
            hint="yoj bench-speed --json > bench.json",
        ) from error
