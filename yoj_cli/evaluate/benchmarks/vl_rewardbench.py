"""VL-RewardBench: 1,250 pairs of answers about pictures; general, hallucination and reasoning.

Source: Hub `MMInstruction/VL-RewardBench`, split `test` (card); script: vl-rewardbench/VL_RewardBench, cal.py.
Licence: MIT.
Columns: `id, query, response[2], image` (bytes), `human_ranking[2]` (0 = preferred), `models, query_source, …`.
Metric: the group follows from the id up to its first "_" or "-" (RLAIF, RLHF, hallucination: hallucination; mathverse,
mmmu: reasoning; all others: general). Accuracy is pooled within each group, and the headline is the plain mean of the
three; a scalar judge agrees where it scores the preferred answer strictly higher.
Uncertain: older scripts grouped otherwise, so macro figures in print are not all comparable. A later upload has 1,247
rows. The script is for generative judges: it asks several times, and counts equal rows (same id, query and responses)
once; here every row counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.benchmarks.published import paper_rows
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, macro_accuracy, pooled_accuracy
from yoj_cli.records.sets.columns import as_items, find_column, media_of, text_column

GROUPS = {
    "RLAIF": "hallucination",
    "RLHF": "hallucination",
    "hallucination": "hallucination",
    "mathverse": "reasoning",
    "mmmu": "reasoning",
}


def convert(row: Mapping[str, Any]) -> Record:
    name = str(find_column(row, "the id", "id"))
    ranking = as_items(find_column(row, "the ranking", "human_ranking"), "human_ranking")
    if sorted(ranking) != [0, 1]:
        raise InputError(f"human_ranking must be [0, 1] or [1, 0], found {str(ranking)[:40]}")
    return {
        "id": name,
        "prompt": text_column(row, "the question", "query"),
        **media_of(row, is_needed=True),
        "responses": as_items(find_column(row, "the responses", "response"), "response"),
        "rankings": [int(rank) + 1 for rank in ranking],
        "category": group_of(name),
    }


def group_of(name: str) -> str:
    return GROUPS.get(re.split("[_-]", name, maxsplit=1)[0], "general")


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [macro_accuracy(judged), pooled_accuracy(judged)]


BENCHMARK = Benchmark(
    name="vl-rewardbench",
    title="VL-RewardBench",
    hub_id="MMInstruction/VL-RewardBench",
    revision="",
    licence="MIT",
    size=1250,
    metric_name="macro pairwise accuracy over 3 groups",
    convert=convert,
    headline=headline,
    files=("data/test*.parquet", "*test*.parquet", "*.parquet", "*.jsonl", "*.json"),
    published=paper_rows(82.2, 63.3),
    note="older scripts grouped the rows otherwise: macro figures in print are not all comparable",
)
