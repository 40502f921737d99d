"""MM-RLHF: prompts with a picture or the frames of a clip, answers ranked by people, given as pairs.

Source: Hub `yifanzhang114/MM-RLHF`, `dpo_pairs.jsonl` (Kwai-YuanQi/MM-RLHF, README). Licence: not stated for the data.
The fields of its pairs were not found; those of the benchmark by the same publishers are
`{id, image | video (a folder of frames), prompt, chosen, rejected}`, and these are looked for. Media lie in one zip a
category (long, mcq, safety, short, video).
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    find_column,
    media_of,
    pair_of,
    ranked,
    text_column,
    turns_of,
    with_id,
    without_placeholder,
)
from yoj_cli.records.sets.public_set import PublicSet, Record, Row


def convert(row: Row) -> Record:
    better = find_column(row, "the better answer", "chosen")
    worse = find_column(row, "the other answer", "rejected")
    if isinstance(better, str) and isinstance(worse, str):
        prompt = without_placeholder(text_column(row, "the prompt", "prompt", "question"))
        record = {"prompt": prompt, **ranked(better, worse)}
    else:
        record = pair_of(turns_of(better, "chosen"), turns_of(worse, "rejected"))
    return with_id(row, {**record, **media_of(row, is_needed=True)}, "id")


SET = PublicSet(
    name="mm-rlhf",
    title="MM-RLHF",
    hub_id="yifanzhang114/MM-RLHF",
    revision="",
    licence="not stated",
    files=("dpo_pairs.jsonl", "*.jsonl", "*.parquet"),
    media=("*.zip",),
    n_responses=2,
    is_verified=False,
    basis="the benchmark by the same publishers",
    convert=convert,
)
