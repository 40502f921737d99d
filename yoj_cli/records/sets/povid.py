"""POVID: 17k pictures with an instruction, a right answer and one with injected hallucinations.

Source: Hub `YiyangAiLab/POVID_preference_data_for_VLLMs`, one JSON file. Licence: CC-BY-4.0.
Its columns were not found; those that LLaVA's trainers read are looked for: `image, conversations[{from, value}],
rejected_conversations`. Pictures are not in it: they are COCO's (give their folder with --media).
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    find_column,
    media_of,
    pair_of,
    turns_of,
    with_id,
    without_placeholder,
)
from yoj_cli.records.sets.public_set import PublicSet, Record, Row


def convert(row: Row) -> Record:
    chosen, rejected = (
        [
            {**turn, "content": without_placeholder(turn["content"])}
            for turn in turns_of(find_column(row, what, *names), names[0])
        ]
        for what, names in (
            ("the better conversation", ("conversations", "chosen")),
            ("the other conversation", ("rejected_conversations", "rejected")),
        )
    )
    return with_id(row, {**pair_of(chosen, rejected), **media_of(row, is_needed=True)}, "id")


SET = PublicSet(
    name="povid",
    title="POVID",
    hub_id="YiyangAiLab/POVID_preference_data_for_VLLMs",
    revision="",
    licence="CC-BY-4.0",
    files=("*.json", "*.jsonl", "*.parquet"),
    media=(),
    n_responses=2,
    is_verified=False,
    basis="what LLaVA's trainers read",
    convert=convert,
)
