"""What a benchmark is: where its records come from, how its figure is made, and what others published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric

Record = dict[str, Any]
"""A group in the training format; "category" and "cluster" beside it where the benchmark has them."""


class Source(Protocol):
    """Where a benchmark's rows and media lie: on the Hub, or a local copy (parquet, JSON, JSONL, zip)."""

    @property
    def name(self) -> str:
        """For errors: a path, or a Hub id with its revision."""

    @property
    def revision(self) -> str:
        """The commit on the Hub, as resolved; "" for a local copy."""

    @property
    def folder(self) -> str:
        """Where relative media paths of the records start."""

    def rows(self, *likely: str) -> Iterator[Mapping[str, Any]]:
        """All rows of the first of these files that is there; of the only data file where none is named."""

    def save_media(self, content: bytes, name: str) -> str:
        """Keep the bytes of a picture in a file; the absolute path of it."""


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
        read: a source's records, in its order.
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
    read: Callable[[Source], Iterator[Record]]
    headline: Callable[[Sequence[Judged]], Sequence[Metric]]
    published: tuple[Published, ...] = ()
    note: str = ""
