"""WildVision battles: people's votes between two vision-language models, on their own pictures.

Source: Hub `WildVision/wildvision-battle`. Licence: ODC-BY.
Its columns were not found; those of arena logs are looked for: `conversation_a, conversation_b` as lists of
{role, content}, a vote in `winner` or `vote` ("model_a", "model_b", "tie", "bothbad"), and `image`.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    find_column,
    media_of,
    prompt_of,
    text_column,
    turns_of,
    with_id,
    without_placeholder,
)
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row

VOTES = {"a": 0, "leftvote": 0, "left": 0, "b": 1, "rightvote": 1, "right": 1}
VOTES |= {"model_a": 0, "model_b": 1, "tie": -1, "tievote": -1, "bothbad": -1, "bothbad_vote": -1}
VOTES |= {"tie (bothbad)": -1, "both_bad": -1}
RANKINGS = {0: [1, 2], 1: [2, 1], -1: [1, 1]}


def convert(row: Row) -> Record:
    vote = text_column(row, "the vote", "winner", "vote", "label").strip().lower()
    if vote not in VOTES:
        raise LeftOutError("the vote is none of model_a, model_b, tie, bothbad")
    first = turns_of(find_column(row, "the first conversation", "conversation_a"), "conversation_a")
    second = turns_of(find_column(row, "the second conversation", "conversation_b"), "conversation_b")
    if not first or not second or {first[-1]["role"], second[-1]["role"]} != {"assistant"}:
        raise LeftOutError("a conversation does not end with an answer")
    if first[:-1] != second[:-1]:
        raise LeftOutError("the two conversations part before their last answers")
    turns = [{**turn, "content": without_placeholder(turn["content"])} for turn in first[:-1]]
    if not turns or turns[-1]["role"] != "user":
        raise LeftOutError("nothing is asked before the answers")
    answers = {
        "responses": [first[-1]["content"], second[-1]["content"]],
        "rankings": RANKINGS[VOTES[vote]],
    }
    models = [row.get("model_a"), row.get("model_b")]
    record = {**prompt_of(turns), **media_of(row, is_needed=True), **answers, "models": models}
    return with_id(row, record, "question_id", "id")


SET = PublicSet(
    name="wildvision",
    title="WildVision (battle)",
    hub_id="WildVision/wildvision-battle",
    revision="",
    licence="ODC-BY",
    files=("*battle*/*.parquet", "data/*.parquet", "*/*.parquet", "*.parquet", "*.jsonl"),
    media=(),
    n_responses=2,
    is_verified=False,
    basis="the usual columns of arena logs",
    convert=convert,
)
