"""PKU-SafeRLHF: pairs of answers to harmful and harmless prompts, compared for helpfulness and for safety.

Source: Hub `PKU-Alignment/PKU-SafeRLHF` (card and public code that reads it). Licence: CC-BY-NC-4.0.
Columns: `prompt, response_0, response_1, better_response_id, safer_response_id, is_response_0_safe, …`. The ranking
here is by `better_response_id` (helpfulness); which one is safer is kept beside it as `safer`, and they often differ.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import as_number, find_column, preferred, text_column
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row


def convert(row: Row) -> Record:
    better = as_number(find_column(row, "the better answer", "better_response_id"))
    if better not in (0, 1):
        raise LeftOutError("it is not said which answer is better")
    first, second = (text_column(row, "an answer", name) for name in ("response_0", "response_1"))
    record = {"prompt": text_column(row, "the prompt", "prompt"), **preferred(first, second, int(better))}
    safer = as_number(row.get("safer_response_id"))
    return {**record, "safer": int(safer)} if safer in (0, 1) else record


SET = PublicSet(
    name="pku-saferlhf",
    title="PKU-SafeRLHF",
    hub_id="PKU-Alignment/PKU-SafeRLHF",
    revision="",
    licence="CC-BY-NC-4.0",
    files=("data/*/train.jsonl", "*train*.jsonl*", "*.jsonl*", "*.parquet"),
    media=(),
    n_responses=2,
    is_verified=True,
    basis="a copy of the set's card, and public code that reads its columns",
    convert=convert,
)
