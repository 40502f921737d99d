"""HelpSteer3, preference part: 40k prompts, two answers each, several annotators.

Source: Hub `nvidia/HelpSteer3` (features listed with a copy on the Hub). Licence: CC-BY-4.0.
Columns: `context[{role, content}], response1, response2, overall_preference, individual_preference[{score}]`; a
preference goes from -3 (the first is much better) to 3 (the second is), and 0 is a tie. The annotators' own
preferences are kept as votes: `"pairwise": [[0, 1, 1 | 2 | 0, annotator], …]`.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    as_items,
    as_number,
    as_object,
    find_column,
    find_optional,
    preferred,
    prompt_of,
    text_column,
    turns_of,
)
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row


def convert(row: Row) -> Record:
    overall = as_number(find_column(row, "the preference", "overall_preference"))
    if overall is None:
        raise LeftOutError("no overall preference")
    turns = turns_of(find_column(row, "the conversation", "context"), "context")
    if not turns or turns[-1]["role"] != "user":
        raise LeftOutError("the conversation does not end with a question")
    first, second = (text_column(row, "an answer", name) for name in ("response1", "response2"))
    record = {**prompt_of(turns), **preferred(first, second, -1 if overall == 0 else int(overall > 0))}
    votes = []
    annotators = find_optional(row, "individual_preference") or []
    for index, item in enumerate(as_items(annotators, "individual_preference")):
        score = as_number(find_column(as_object(item, "individual_preference"), "a preference", "score"))
        if score is not None:
            votes.append([0, 1, 0 if score == 0 else 1 + int(score > 0), f"annotator {index + 1}"])
    return {**record, "overall_preference": overall, **({"pairwise": votes} if votes else {})}


SET = PublicSet(
    name="helpsteer3",
    title="HelpSteer3 (preference)",
    hub_id="nvidia/HelpSteer3",
    revision="",
    licence="CC-BY-4.0",
    files=("preference/train*", "train*", "*.jsonl*", "*.parquet"),
    media=(),
    n_responses=2,
    is_verified=True,
    basis="the features listed with a copy on the Hub",
    convert=convert,
)
