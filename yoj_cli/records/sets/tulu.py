"""Tulu 3 8B preference mixture: 271k pairs of conversations.

Source: Hub `allenai/llama-3.1-tulu-3-8b-preference-mixture` (card). Licence: ODC-BY; parts are non-commercial.
Columns: `id, prompt, chosen[{role, content}], rejected[{role, content}], source`.
"""

from __future__ import annotations

from yoj_cli.records.sets import skywork
from yoj_cli.records.sets.columns import with_id
from yoj_cli.records.sets.public_set import PublicSet, Record, Row


def convert(row: Row) -> Record:
    return with_id(row, skywork.convert(row), "id")


SET = PublicSet(
    name="tulu",
    title="Tulu 3 8B preference mixture",
    hub_id="allenai/llama-3.1-tulu-3-8b-preference-mixture",
    revision="",
    licence="ODC-BY; parts of it are non-commercial",
    files=("data/train*.parquet", "*.parquet", "*.jsonl"),
    media=(),
    n_responses=2,
    is_verified=True,
    basis="the features in the set's card",
    convert=convert,
)
