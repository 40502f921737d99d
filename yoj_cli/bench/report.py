"""What a comparison found, and as one JSON document with units in its key names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from yoj_cli.bench.measure import Timing

PUBLISHED = {
    "source": "arXiv 2604.10966",
    "device_name": "one H100",
    "n": 4,
    "latency_speedup": 3.9,
    "flops_speedup": 4.0,
}
"""What the paper reports for (e) against (a), at most; printed beside what is measured, and never measured here."""


@dataclass(frozen=True)
class Row:
    """One way to read the groups.

    Attributes:
        key: "a" to "g".
        tokens, flop: of all groups, by counting and by formula.
        peak_memory_bytes: of the group that takes most, above what was held before; None where unknown.
        difference: largest deviation from the scores they must equal; None where there is nothing to equal.
    """

    key: str
    name: str
    timing: Timing
    tokens: int
    flop: int
    peak_memory_bytes: int | None
    difference: float | None

    @property
    def median_s(self) -> float | None:
        """Of all groups; None where it did not fit."""
        return None if self.timing.error else self.timing.median_s


@dataclass(frozen=True)
class Comparison:
    """All ways on the same groups of N responses.

    Attributes:
        picture_tokens, clip_tokens: of each group.
        prefix_tokens: of each group, what all of its responses share; None for N = 1, where nothing says.
        alone_tokens: of each response's own pass: prefix, response and what the template puts after it.
        n_orders: of (f); a group of N has N! at most.
        rows: in the order of their keys; of the two ways to do (c) the faster one.
        slower: the other one; None where one of them did not fit.
        tolerance: how far scores may deviate.
    """

    n: int
    picture_tokens: list[int]
    clip_tokens: list[int]
    prefix_tokens: list[int] | None
    alone_tokens: list[list[int]]
    n_orders: int
    rows: list[Row]
    slower: Row | None
    tolerance: float

    @property
    def n_groups(self) -> int:
        return len(self.picture_tokens)

    @property
    def response_tokens(self) -> list[int]:
        """Of each response of each group, without the prefix; of the whole pass for N = 1."""
        prefixes = self.prefix_tokens or [0] * self.n_groups
        pairs = zip(self.alone_tokens, prefixes, strict=True)
        return [tokens - prefix for alone, prefix in pairs for tokens in alone]

    def row(self, key: str) -> Row:
        return next(row for row in self.rows if row.key == key)

    def speedup(self, row: Row) -> float | None:
        """Against (a), of the medians."""
        base = self.row("a").median_s
        return base / row.median_s if base and row.median_s else None

    def predicted(self, row: Row) -> float:
        """The speed-up against (a) that the operations alone would give."""
        return self.row("a").flop / row.flop

    @property
    def token_ratio(self) -> float:
        """Tokens of (a) to those of (e): the speed-up of `multi` if every token took the same time."""
        return self.row("a").tokens / self.row("e").tokens

    @property
    def disagreements(self) -> list[Row]:
        rows = [*self.rows, self.slower] if self.slower else self.rows
        return [row for row in rows if row.difference is not None and not row.difference <= self.tolerance]


@dataclass(frozen=True)
class SpeedReport:
    """A whole run.

    Attributes:
        facts: what was measured on what: judge, device, types, versions, settings.
        random_weights: the architecture's title where the weights are random; None for a judge.
        matmul_flop_per_s: what the device reaches in a large product of matrices.
    """

    facts: dict[str, Any]
    random_weights: str | None
    matmul_flop_per_s: float
    memory_method: str | None
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What was measured, for a table and a picture."""
        facts = self.facts
        what = f"RANDOM WEIGHTS, {self.random_weights}" if self.random_weights else facts["model"]
        return f"{what}, {facts['quant']}, {facts['dtype']}, {facts['device_name']}"

    @property
    def beside_published(self) -> Comparison | None:
        """What was measured for the paper's N, if it was."""
        return next((each for each in self.comparisons if each.n == PUBLISHED["n"]), None)

    @property
    def disagreements(self) -> list[str]:
        """One line for each way whose scores are not what they must be."""
        return [
            f"N = {each.n}: the scores of {row.name} are off by {row.difference:.2g}, over {each.tolerance:g}"
            for each in self.comparisons
            for row in each.disagreements
        ]

    def document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "benchmark": "yoj bench-speed",
            **self.facts,
            "random_weights": self.random_weights is not None,
            "architecture": self.random_weights,
            "matmul_flop_per_s": self.matmul_flop_per_s,
            "memory_method": self.memory_method,
            "agrees": not self.disagreements,
            "published": PUBLISHED,
            "runs": [self._run(each) for each in self.comparisons],
        }

    def _run(self, found: Comparison) -> dict[str, Any]:
        rows = [*found.rows, found.slower] if found.slower else found.rows
        return {
            "n": found.n,
            "n_groups": found.n_groups,
            "prefix_tokens": found.prefix_tokens,
            "picture_tokens": found.picture_tokens,
            "clip_tokens": found.clip_tokens,
            "alone_tokens": found.alone_tokens,
            "orders": found.n_orders,
            "token_ratio": found.token_ratio,
            "score_tolerance": found.tolerance,
            "agrees": not found.disagreements,
            "variants": [self._row(found, row) | {"in_table": row is not found.slower} for row in rows],
        }

    def _row(self, found: Comparison, row: Row) -> dict[str, Any]:
        described = {"key": row.key, "name": row.name, "tokens": row.tokens, "flop": row.flop}
        described |= {"predicted_speedup": found.predicted(row), "error": row.timing.error}
        described |= {"peak_memory_bytes": row.peak_memory_bytes, "score_difference": row.difference}
        seconds = row.median_s
        if seconds is None:
            return described
        low, high = row.timing.quartiles_s
        flop_per_s = row.flop / seconds
        return described | {
            "first_s": row.timing.first_s,
            "times_s": row.timing.times_s,
            "median_s": seconds,
            "first_quartile_s": low,
            "third_quartile_s": high,
            "groups_per_s": found.n_groups / seconds,
            "responses_per_s": found.n * found.n_groups / seconds,
            "flop_per_s": flop_per_s,
            "share_of_matmul_peak": flop_per_s / self.matmul_flop_per_s,
            "speedup": found.speedup(row),
        }
