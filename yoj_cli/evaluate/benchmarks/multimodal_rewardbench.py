"""Multimodal RewardBench: about 4,711 released pairs in six categories.

Source: facebookresearch/multimodal_rewardbench: its script 0_download_data.py builds `data/all_data.json` (pictures
beside it), 2_get_accuracy.py computes the accuracy. Licence: CC-BY-NC.
Columns: `ID, Text, Image, Output1, Output2, Better` ("Output1" or "Output2"), `Category`.
Metric: right pairs over all, pooled; safety is divided into bias (ids that start with "pairs") and toxicity, reasoning
into math (ids that start with "math") and coding. The script judges each pair once, without a swap.
Uncertain: a copy on the Hub (`MMRB/Multimodal-RewardBench`, named by the paper's repository) was not seen; give the
built file with --data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.benchmarks.published import paper_rows
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, macro_accuracy, pooled_accuracy
from yoj_cli.records.sets.columns import find_column, preferred, text_column

DIVIDED = {"safety": ("pairs", "bias", "toxicity"), "reasoning": ("math", "math", "coding")}
"""Category -> the start of ids that are of its first part, that part, and the other one."""


def convert(row: Mapping[str, Any]) -> Record:
    name = str(find_column(row, "the id", "ID"))
    better = text_column(row, "which output is better", "Better")
    if better not in ("Output1", "Output2"):
        raise InputError(f"Better must be Output1 or Output2, found {better[:40]!r}")
    first, second = (text_column(row, "an answer", key) for key in ("Output1", "Output2"))
    return {
        "id": name,
        "prompt": text_column(row, "the question", "Text"),
        "images": [find_column(row, "the picture", "Image")],
        **preferred(first, second, int(better == "Output2")),
        "category": category_of(str(find_column(row, "the category", "Category")), name),
    }


def category_of(category: str, name: str) -> str:
    if category not in DIVIDED:
        return category
    start, first, second = DIVIDED[category]
    return f"{category}/{first if name.lower().startswith(start) else second}"


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [pooled_accuracy(judged), macro_accuracy(judged)]


BENCHMARK = Benchmark(
    name="multimodal-rewardbench",
    title="Multimodal RewardBench",
    hub_id="MMRB/Multimodal-RewardBench",
    revision="",
    licence="CC-BY-NC",
    size=4711,
    metric_name="pooled pairwise accuracy",
    convert=convert,
    headline=headline,
    files=("all_data.json", "*all_data*.json", "*.parquet", "*.json", "*.jsonl"),
    archives=("*.zip", "*.jpg", "*.png"),
    published=paper_rows(73.2, 71.2),
    note="the copy on the Hub was not seen: build all_data.json with the publishers' script and give --data",
)
