"""`yoj plan-run`: how long, how much, and what becomes the limit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import write_blocks
from yoj_cli.config.plan_run import PlanRunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoj_cli.render.blocks import Block
    from yoj_cli.run.estimate import Estimate, Workload


@with_options(config=PlanRunConfig)
def plan_run(
    config: PlanRunConfig,
    document: Annotated[
        Optional[Path],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(help="What `yoj bench-speed --json` wrote on such a device.", metavar="BENCH"),
    ] = None,
) -> None:
    """Estimate a long run: hours, cost and the limit, for numbers of groups and devices.

    yoj bench-speed -m JUDGE --n 4 --json > bench.json; yoj plan-run bench.json --price-per-hour 2
    """
    from yoj_cli.run.estimate import estimate, read_workload

    work = read_workload(config, document)
    estimates = [
        estimate(work, int(float(n_groups)), int(float(n_devices)))
        for n_groups in config.groups.split(",")
        for n_devices in config.at.split(",")
    ]
    write_blocks(
        _describe(work, estimates),
        {"workload": asdict(work), "estimates": [asdict(each) for each in estimates]},
        as_json=config.json,
        markdown=config.format == "markdown",
    )


def _describe(work: Workload, estimates: Sequence[Estimate]) -> list[Block]:
    from yoj_cli.render.blocks import Lines, Table

    facts = [
        f"{work.groups_per_s:,.3g} groups/s a device ({work.source}); {work.load_s:g} s to load a judge."
    ]
    if work.useful_devices < float("inf"):
        facts.append(f"From {work.useful_devices:,.0f} devices on, shared storage is the limit.")
    rows = tuple(
        (
            f"{each.n_groups:,}" if each.n_groups < 1e8 else f"{each.n_groups:.3g}",
            f"{each.n_devices:,}",
            _duration(each.wall_s),
            f"{each.device_hours:,.1f}",
            "" if each.cost is None else f"{each.cost:,.2f}",
            each.limit,
        )
        for each in estimates
    )
    columns = ("devices", "time", "device hours", "cost", "limit")
    return [Lines(tuple(facts)), Table("groups", columns, rows)]


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
