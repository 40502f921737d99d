"""The benchmarks, one file each: a reader, a metric, what was published, and what is uncertain."""

from __future__ import annotations

from yoj_cli.evaluate.benchmark import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = ()
"""As `yoj eval --list` shows them."""
