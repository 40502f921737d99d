"""VideoRewardBench: 1,563 triplets (clip, prompt, pair of answers) over 1,482 clips in five dimensions.

Source: Hub `Dragonriser/VideoRewardBench`. Licence: not found.
Columns: NOT FOUND. The training format and the usual names of pairs are looked for; the error says which, and which are
there. Dimensions: long-form perception 283, short-form perception 413, knowledge 238, reasoning 278, safety 351.
Metric: the paper reports the plain mean of pairwise accuracy over the dimensions; the benchmark's own "Overall" is
pooled. Both are shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.benchmarks.likely import likely_record
from yoj_cli.evaluate.benchmarks.published import paper_rows
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, macro_accuracy, pooled_accuracy


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [macro_accuracy(judged), pooled_accuracy(judged)]


BENCHMARK = Benchmark(
    name="videorewardbench",
    title="VideoRewardBench",
    hub_id="Dragonriser/VideoRewardBench",
    revision="",
    licence="not found",
    size=1563,
    metric_name="macro pairwise accuracy over 5 groups",
    convert=likely_record,
    headline=headline,
    files=("*.jsonl", "*.parquet", "*.json"),
    archives=("*.zip", "*.mp4", "*.webm", "*.mkv"),
    published=paper_rows(66.3, 64.9),
    note="its columns were not found: the likely ones are looked for",
)
