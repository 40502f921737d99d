"""The rows that the paper prints for its own models (arXiv 2604.10966, main table; also in its repository's README)."""

from __future__ import annotations

from yoj_cli.evaluate.benchmark import Published

BY = "arXiv 2604.10966"


def paper_rows(molmo2: float, qwen3_vl: float) -> tuple[Published, ...]:
    """Both of the paper's judges on one benchmark, in per cent."""
    return (
        Published("Molmo2-4B RM", round(molmo2 / 100, 4), BY),
        Published("Qwen3-VL-4B RM", round(qwen3_vl / 100, 4), BY),
    )
