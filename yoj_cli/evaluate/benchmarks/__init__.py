"""The benchmarks, one file each: a row's reader, the metric as published, what was printed, and what is uncertain."""

from __future__ import annotations

from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.benchmarks import (
    if_rewardbench,
    mm_rlhf_rewardbench,
    mmrb2_reasoning,
    mr2bench,
    multimodal_rewardbench,
    omni_rewardbench,
    rewardbench_2,
    videorewardbench,
    vl_rewardbench,
)

BENCHMARKS: tuple[Benchmark, ...] = (
    vl_rewardbench.BENCHMARK,
    multimodal_rewardbench.BENCHMARK,
    mm_rlhf_rewardbench.BENCHMARK,
    mm_rlhf_rewardbench.WHOLE_GROUPS,
    videorewardbench.BENCHMARK,
    mr2bench.IMAGE,
    mr2bench.VIDEO,
    rewardbench_2.BENCHMARK,
    mmrb2_reasoning.BENCHMARK,
    omni_rewardbench.BENCHMARK,
    if_rewardbench.BENCHMARK,
)
"""As `yoj eval --list` shows them."""
