"""What a benchmark is: where its records come from, how its figure is made, and what others published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric

Record = dict[str, Any]
"""A group in the training format; "category", "cluster" and "preferences" beside it where the benchmark has them."""


@dataclass(frozen=True, slots=True)
class Published:
    """A figure that somebody printed, never measured here.

    Attributes:
        model: as they name it.
        value: in the metric's unit: 0.822, not 82.2.
        by: who printed it, where.
        metric_name: where it is not the benchmark's own metric.
    """

    model: str
    value: float
    by: str
    metric_name: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: as given on the command line.
        hub_id, revision: the data set on the Hub; "" where there is none, or no commit is pinned.
        licence: of the data, as stated; "not stated" where it is not.
        size: rows as published; None where nobody says.
        metric_name: of the headline figure.
        note: what is uncertain: the schema, the protocol; "" where nothing is.
        files: patterns of the files with rows, the first that matches any file.
        archives: patterns of further files on the Hub with pictures and clips.
        convert: one row to a record, its media as the row has them; None where the benchmark is not about it.
        join: all records of the rows to other ones, where a row is only part of a group.
        headline: the figures as published, the first one the benchmark's own; of groups that are gold.
        published: rows for the table.
    """

    name: str
    title: str
    hub_id: str
    revision: str
    licence: str
    size: int | None
    metric_name: str
    convert: Callable[[Mapping[str, Any]], Record | None]
    headline: Callable[[Sequence[Judged]], Sequence[Metric]]
    files: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    join: Callable[[Sequence[Record]], Iterator[Record]] | None = None
    published: tuple[Published, ...] = ()
    note: str = ""
