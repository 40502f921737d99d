"""What the server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from yoj_cli.serve.admission import Admission

if TYPE_CHECKING:
    from yoj_cli.scoring.engine import Engine
    from yoj_cli.serve.scheduler import Scheduler

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters of one server.

    Attributes:
        requests, groups, cohorts, seconds: counted where a request or a group ends.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "yoj_requests", "Requests by endpoint and status.", ["path", "status"], registry=self._registry
        )
        self.groups = Counter("yoj_groups", "Groups by what came out.", ["outcome"], registry=self._registry)
        self.cohorts = Counter(
            "yoj_cohorts", "Cohorts of trainers by whether all came.", ["outcome"], registry=self._registry
        )
        self.seconds = Histogram(
            "yoj_request_seconds", "Time of a request.", ["path"], buckets=SECONDS, registry=self._registry
        )

    def watch(self, admission: Admission, scheduler: Scheduler, engines: Sequence[Engine]) -> None:
        """Read these when they are asked for."""
        for name, text, read in (
            ("open_requests", "Requests that are being answered.", lambda: admission.n_requests),
            ("open_groups", "Groups of open requests.", lambda: admission.n_groups),
            ("open_bytes", "Bytes of open requests.", lambda: admission.n_bytes),
            ("waiting_groups", "Groups that are on no device yet.", lambda: scheduler.n_waiting),
            ("passes", "Forward passes so far.", lambda: sum(each.usage.n_passes for each in engines)),
            ("tokens", "Tokens read so far.", lambda: sum(each.usage.n_tokens for each in engines)),
            ("padded_tokens", "The same with padding.", lambda: sum(each.usage.n_padded for each in engines)),
        ):
            Gauge(f"yoj_{name}", text, registry=self._registry).set_function(read)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return bytes(generate_latest(self._registry))
