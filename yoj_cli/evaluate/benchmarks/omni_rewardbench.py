"""OmniRewardBench: pairs under a criterion of their own; its parts with a picture or clip and text answers.

Source: Hub `HongbangYuan/OmniRewardBench`; HongbangYuan/OmniReward (README, evaluation_experiments/run_exp.py). Licence
of the data: not stated (the code is Apache-2.0).
Columns: `id, prompt, image | image_path | video, response1, response2, model1, model2, criteria, criteria_preference`
("response1", "response2" or "tie"). The criterion is put into the prompt, below the question, since a judge that reads
no instruction besides could not know it. Only text+image->text and text+video->text have text answers about media; rows
of other tasks are passed over.
Metric: accuracy without the rows marked "tie" (the script's own default).
Uncertain: how the publishers' script words the criterion is for generative judges; this wording is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, macro_accuracy, pooled_accuracy
from yoj_cli.records.sets.columns import find_column, find_optional, media_of, preferred, text_column, with_id

SIDES = {"response1": 0, "response2": 1, "tie": -1}


def convert(row: Mapping[str, Any]) -> Record | None:
    first = find_column(row, "an answer", "response1")
    second = find_column(row, "an answer", "response2")
    shown = media_of(row, is_needed=False)
    if not isinstance(first, str) or not isinstance(second, str) or not shown:
        return None
    side = text_column(row, "the preference", "criteria_preference").strip().lower()
    if side not in SIDES:
        raise InputError(f"criteria_preference must be response1, response2 or tie, found {side[:40]!r}")
    prompt = text_column(row, "the prompt", "prompt")
    criterion = text_column(row, "the criterion", "criteria")
    texts = (prompt, f"\n\nJudge the answer by this criterion: {criterion}")
    blocks = [{"type": key.removesuffix("s")} for key, media in shown.items() for _ in media]
    blocks += [{"type": "text", "text": text} for text in texts]
    record = {
        "messages": [{"role": "user", "content": blocks}],
        **shown,
        **preferred(first, second, SIDES[side]),
        "category": str(find_optional(row, "task") or ("video" if "videos" in shown else "image")),
    }
    return with_id(row, record, "id")


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [pooled_accuracy(judged, "accuracy without ties"), macro_accuracy(judged)]


BENCHMARK = Benchmark(
    name="omni-rewardbench",
    title="OmniRewardBench (image and video to text)",
    hub_id="HongbangYuan/OmniRewardBench",
    revision="",
    licence="not stated",
    size=None,
    metric_name="accuracy without ties",
    convert=convert,
    headline=headline,
    files=("*text_[iv]*_to_text*", "*.parquet", "*.json", "*.jsonl"),
    archives=("*.zip", "*.mp4", "*.jpg", "*.png"),
    note="rows have a criterion each, which is put into the prompt in words of ours",
)
