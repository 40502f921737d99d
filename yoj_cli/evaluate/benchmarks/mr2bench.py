"""MR2Bench: rankings by people of N responses, about pictures (240, over 8 models) and clips (497, over 19 models).

Source: Hub `yinuoy/MR2Bench`, JSON (arXiv 2604.10966). Licence: ODC-BY.
Columns: NOT FOUND. The paper's training format `{prompt, responses, rankings, image | video}` and the usual names are
looked for. Metric: best of 4, on variants of four responses drawn from the full rankings by a rule that was not found;
`yoj votes sample` draws such variants.
"""

from __future__ import annotations

from collections.abc import Sequence

from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.benchmarks.likely import likely_record
from yoj_cli.evaluate.benchmarks.published import paper_rows
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, best_of_n, mean_tau, pooled_accuracy

HUB_ID, LICENCE = "yinuoy/MR2Bench", "ODC-BY"
NOTE = "its columns, and how the sets of four were drawn, were not found: the likely ones are looked for"


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [best_of_n(judged, name_of(judged)), pooled_accuracy(judged), mean_tau(judged)]


def name_of(judged: Sequence[Judged]) -> str:
    """What the figure is called: the paper's name only where all groups have four responses."""
    return "best of 4" if all(len(each.scores) == 4 for each in judged) else "best of N"


IMAGE = Benchmark(
    name="mr2bench-image",
    title="MR2Bench-Image",
    hub_id=HUB_ID,
    revision="",
    licence=LICENCE,
    size=240,
    metric_name="best of 4",
    convert=likely_record,
    headline=headline,
    files=("*image*.json", "*image*.jsonl", "*image*.parquet", "*image*/*.json*"),
    archives=("*image*.zip", "*.jpg", "*.jpeg", "*.png", "*.webp"),
    published=paper_rows(62.5, 58.8),
    note=NOTE,
)

VIDEO = Benchmark(
    name="mr2bench-video",
    title="MR2Bench-Video",
    hub_id=HUB_ID,
    revision="",
    licence=LICENCE,
    size=497,
    metric_name="best of 4",
    convert=likely_record,
    headline=headline,
    files=("*video*.json", "*video*.jsonl", "*video*.parquet", "*video*/*.json*"),
    archives=("*video*.zip", "*.mp4", "*.webm", "*.mkv"),
    published=paper_rows(50.7, 47.5),
    note=NOTE,
)
