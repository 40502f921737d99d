"""Rows whose columns nobody could verify: the training format, or the usual names of pairs and rankings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Record
from yoj_cli.records.sets.columns import (
    as_items,
    as_number,
    find_column,
    find_optional,
    media_of,
    preferred,
    ranked,
    text_column,
    with_id,
    without_placeholder,
)

PROMPT = ("prompt", "question", "query", "instruction", "text")
RESPONSES = ("responses", "response", "candidates", "answers", "completions")
RANKINGS = ("rankings", "ranking", "human_ranking", "ranks", "rank")
CATEGORY = ("category", "dimension", "task", "subset", "type", "domain")
CHOSEN, REJECTED = ("chosen", "preferred"), ("rejected", "dispreferred")
FIRST = ("response1", "response_1", "response_a", "answer1", "output1")
SECOND = ("response2", "response_2", "response_b", "answer2", "output2")
PREFERENCE = ("preference", "better", "label", "winner", "choice", "ground_truth")
SIDES = {"1": 0, "a": 0, "response1": 0, "response_a": 0, "first": 0, "model_a": 0, "output1": 0}
SIDES |= {"2": 1, "b": 1, "response2": 1, "response_b": 1, "second": 1, "model_b": 1, "output2": 1, "tie": -1}


def likely_record(row: Mapping[str, Any]) -> Record:
    """A row in the training format, or a pair under one of its usual names.

    Raises:
        InputError: the columns are missing; it says which were looked for and which are there.
    """
    if isinstance(row.get("messages"), list):
        asked: Record = {"messages": row["messages"]}
    else:
        asked = {"prompt": without_placeholder(text_column(row, "the prompt", *PROMPT))}
    record = {**asked, **media_of(row, is_needed=True), **_answers(row)}
    category = find_optional(row, *CATEGORY)
    if category is not None:
        record["category"] = str(category)
    return with_id(row, record, "id", "question_id", "qid")


def _answers(row: Mapping[str, Any]) -> Record:
    better, worse = find_optional(row, *CHOSEN), find_optional(row, *REJECTED)
    if isinstance(better, str) and isinstance(worse, str):
        return ranked(better, worse)
    first, second = find_optional(row, *FIRST), find_optional(row, *SECOND)
    if isinstance(first, str) and isinstance(second, str):
        preference = str(find_column(row, "which one is better", *PREFERENCE)).strip().lower()
        if preference not in SIDES:
            raise InputError(f"which one is better is none of {', '.join(SIDES)}: {preference[:40]!r}")
        return preferred(first, second, SIDES[preference])
    names = (*RESPONSES, *CHOSEN, *REJECTED, *FIRST, *SECOND)
    responses = as_items(find_column(row, "the responses", *names), "the responses")
    raw = as_items(find_column(row, "the ranking", *RANKINGS), "the ranking")
    ranks = [as_number(rank) for rank in raw]
    if any(rank is None for rank in ranks) or len(ranks) != len(responses):
        raise InputError(f"the ranking must have one number for each of {len(responses)} responses")
    shift = 1 if 0 in ranks else 0  # some count from 0
    return {"responses": responses, "rankings": [rank + shift for rank in ranks if rank is not None]}
