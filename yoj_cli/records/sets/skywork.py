"""Skywork-Reward-Preference-80K-v0.2: 77k pairs collected from open sets, decontaminated by its publishers.

Source: Hub `Skywork/Skywork-Reward-Preference-80K-v0.2`. Licence: not stated for the whole; its parts have their own.
The columns were not found in a card; `chosen, rejected` as lists of {role, content}, as its publishers' models are
trained on, are looked for.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import find_column, pair_of, turns_of
from yoj_cli.records.sets.public_set import PublicSet, Record, Row


def convert(row: Row) -> Record:
    record = pair_of(
        turns_of(find_column(row, "the better conversation", "chosen"), "chosen"),
        turns_of(find_column(row, "the other conversation", "rejected"), "rejected"),
    )
    source = row.get("source")
    return {**record, "source": source} if isinstance(source, str) else record


SET = PublicSet(
    name="skywork",
    title="Skywork-Reward-Preference-80K-v0.2",
    hub_id="Skywork/Skywork-Reward-Preference-80K-v0.2",
    revision="",
    licence="not stated; its parts have their own",
    files=("data/train*.parquet", "*.parquet", "*.jsonl"),
    media=(),
    n_responses=2,
    is_verified=False,
    basis="the usual columns of conversational pairs",
    convert=convert,
)
