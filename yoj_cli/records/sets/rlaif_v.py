"""RLAIF-V: 83k pictures with a question and a pair of answers, compared by open models.

Source: Hub `openbmb/RLAIF-V-Dataset` (card). Licence: CC BY-NC 4.0.
Columns: `image` (bytes), `question, chosen, rejected, idx, image_path, origin_dataset, …`.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import media_of, ranked, text_column, with_id, without_placeholder
from yoj_cli.records.sets.public_set import PublicSet, Record, Row


def convert(row: Row) -> Record:
    prompt = without_placeholder(text_column(row, "the question", "question"))
    answers = ranked(
        text_column(row, "the better answer", "chosen"), text_column(row, "the other one", "rejected")
    )
    return with_id(row, {"prompt": prompt, **media_of(row, is_needed=True), **answers}, "idx")


SET = PublicSet(
    name="rlaif-v",
    title="RLAIF-V",
    hub_id="openbmb/RLAIF-V-Dataset",
    revision="",
    licence="CC-BY-NC-4.0",
    files=("*.parquet", "*.jsonl"),
    media=(),
    n_responses=2,
    is_verified=True,
    basis="the features in the set's card",
    convert=convert,
)
