"""MM-RLHF RewardBench: 170 pairs over 46 prompts, with pictures or the frames of a clip.

Source: Hub `yifanzhang114/MM-RLHF-RewardBench`, `mm_reward_bench.jsonl`; script: Kwai-YuanQi/MM-RLHF,
llava/eval/cal_performance_mmreweard_bench.py. Licence: not stated.
Columns: `id, image | video` (a folder of frames), `prompt, chosen, rejected`. Category: mcq, long, short, safety or
video, by the media path; the script looks for the word anywhere in the path, here it has to begin a part of it.
Metric: ACC = pairs with score(chosen) > score(rejected), a tie is wrong; ACC+ = ids all of whose pairs are right. The
publishers show 32 frames of a clip, evenly spaced and sorted by name (--max-frames is the judge's here).
Besides, `mm-rlhf-rewardbench-groups`: the pairs of an id joined to one group of 3 to 5 responses, which is not the
published protocol.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.benchmarks.graph import rankings_of
from yoj_cli.evaluate.benchmarks.published import paper_rows
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import (
    Metric,
    accuracy_plus,
    best_of_n,
    macro_accuracy,
    mean_tau,
    pooled_accuracy,
)
from yoj_cli.records.sets.columns import find_column, media_of, ranked, text_column, without_placeholder

CATEGORIES = ("mcq", "long", "short", "safety", "video")


def convert(row: Mapping[str, Any]) -> Record:
    name = str(find_column(row, "the id", "id"))
    shown = media_of(row, is_needed=True)
    return {
        "id": name,
        "prompt": without_placeholder(text_column(row, "the prompt", "prompt")),
        **shown,
        **ranked(
            text_column(row, "the better answer", "chosen"), text_column(row, "the other one", "rejected")
        ),
        "category": category_of(next(iter(shown.values()))[0]),
        "cluster": name,
    }


def category_of(medium: Any) -> str:
    """By the first part of the media path that begins with a category's name; "other" without one."""
    path = medium.get("path") if isinstance(medium, Mapping) else medium
    for part in re.split(r"[/\\]", path if isinstance(path, str) else ""):
        found = next((each for each in CATEGORIES if part.lower().startswith(each)), None)
        if found:
            return found
    return "other"


def join(records: Sequence[Record]) -> Iterator[Record]:
    """The pairs of each id as one group.

    Raises:
        InputError: the pairs of an id contradict each other.
    """
    by_id: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_id[record["id"]].append(record)
    for name, pairs in by_id.items():
        responses = list(dict.fromkeys(text for pair in pairs for text in pair["responses"]))
        place = {text: index for index, text in enumerate(responses)}
        edges = [(place[better], place[worse]) for better, worse in (pair["responses"] for pair in pairs)]
        try:
            rankings = rankings_of(len(responses), edges)
        except InputError as error:
            raise error.at(f"id {name}") from error
        yield {**pairs[0], "responses": responses, "rankings": rankings}


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [pooled_accuracy(judged), accuracy_plus(judged), macro_accuracy(judged)]


def groups_headline(judged: Sequence[Judged]) -> list[Metric]:
    return [best_of_n(judged), pooled_accuracy(judged), mean_tau(judged)]


BENCHMARK = Benchmark(
    name="mm-rlhf-rewardbench",
    title="MM-RLHF RewardBench",
    hub_id="yifanzhang114/MM-RLHF-RewardBench",
    revision="",
    licence="not stated",
    size=170,
    metric_name="pooled pairwise accuracy",
    convert=convert,
    headline=headline,
    files=("mm_reward_bench.jsonl", "*.jsonl", "*.parquet", "*.json"),
    archives=("images/*", "images/**", "*.zip"),
    published=paper_rows(92.4, 84.7),
    note="170 pairs are few: the interval is wide",
)

WHOLE_GROUPS = Benchmark(
    name="mm-rlhf-rewardbench-groups",
    title="MM-RLHF RewardBench, pairs joined to groups",
    hub_id=BENCHMARK.hub_id,
    revision=BENCHMARK.revision,
    licence=BENCHMARK.licence,
    size=46,
    metric_name="best of N",
    convert=convert,
    headline=groups_headline,
    files=BENCHMARK.files,
    archives=BENCHMARK.archives,
    join=join,
    note="the same pairs as groups of 3 to 5 responses; not the published protocol",
)
