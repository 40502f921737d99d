"""LLaVA-Critic-113k, pairwise part: 40k pictures with a question and two answers, compared by GPT-4o.

Source: Hub `lmms-lab/llava-critic-113k`, configuration `pairwise` (card). Licence: Apache-2.0.
Columns: `id, source, conversations[{from, value}], image` (bytes). The question and both answers stand inside the first
turn's text ("Question: [ … ] The first response: [ … ] The second response: [ … ]", as in the released model's own
example), and which one is better in the second's. The columns were verified; that text was not: rows that do not read
so are left out and counted. The pointwise part rates answers one by one and is not read.
"""

from __future__ import annotations

import re

from yoj_cli.records.sets.columns import (
    find_column,
    media_of,
    preferred,
    turns_of,
    with_id,
    without_placeholder,
)
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row

TASK = re.compile(
    r"Question:\s*\[?(?P<question>.*?)\]?\s*"
    r"(?:The )?(?:first response|Response 1|Answer 1):\s*\[?(?P<first>.*?)\]?\s*"
    r"(?:The )?(?:second response|Response 2|Answer 2):\s*\[?(?P<second>.*?)\]?\s*(?:ASSISTANT:\s*)?\Z",
    re.DOTALL | re.IGNORECASE,
)
VERDICT = re.compile(
    r"\b(?:(?P<ordinal>first|second)\s+(?:response|answer)|(?:response|answer)\s+(?P<number>[12]))\s+is\s+"
    r"(?:(?:slightly|much|significantly|clearly)\s+)?(?:better|preferred|superior)"
    r"|(?P<tie>\b(?:tie|equally good|equal quality|are equal)\b)",
    re.IGNORECASE,
)
BETTER = {"first": 0, "second": 1, "1": 0, "2": 1}


def convert(row: Row) -> Record:
    turns = turns_of(find_column(row, "the comparison", "conversations"), "conversations")
    if len(turns) < 2:
        raise LeftOutError("the comparison has no verdict")
    task = TASK.search(without_placeholder(turns[0]["content"]))
    if task is None:
        raise LeftOutError("no question with a first and a second response is in the first turn")
    verdicts = list(VERDICT.finditer(turns[1]["content"]))
    if not verdicts:
        raise LeftOutError("the second turn does not say which response is better")
    last = verdicts[-1]
    better = -1 if last["tie"] else BETTER[(last["ordinal"] or last["number"]).lower()]
    answers = preferred(task["first"].strip(), task["second"].strip(), better)
    record = {"prompt": task["question"].strip(), **media_of(row, is_needed=True), **answers}
    return with_id(row, record, "id")


SET = PublicSet(
    name="llava-critic",
    title="LLaVA-Critic-113k (pairwise)",
    hub_id="lmms-lab/llava-critic-113k",
    revision="",
    licence="Apache-2.0",
    files=("pairwise/*.parquet", "*.parquet", "*.jsonl", "*.json"),
    media=(),
    n_responses=2,
    is_verified=False,
    basis="columns: the set's card; how the texts read: the released model's own example",
    convert=convert,
)
