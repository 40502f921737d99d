"""UltraFeedback: 64k instructions, four answers each, rated by GPT-4.

Source: OpenBMB/UltraFeedback (README and src/data_annotation/fix_overall_score_issue.py); Hub `openbmb/UltraFeedback`.
Licence: MIT. Columns: `instruction, completions[{response, model, overall_score, fine-grained_score, …}]`.

Before revision 40b4365, 2,628 completions had an overall score of 10 that was meant to be 1 or something else. The
publishers set those with a mean fine-grained score of at most 2 to 1, left those above 4, and rated the others again.
Here the first are corrected in the same way, and groups with one of the others are left out: a local copy does not say
which revision it is.
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    as_items,
    as_number,
    as_object,
    find_column,
    rated,
    text_column,
    with_id,
)
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row

WRONG_SCORE, RIGHT_SCORE = 10.0, 1.0
CORRECTED_UP_TO, TRUSTED_ABOVE = 2.0, 4.0
"""Mean fine-grained scores up to which an overall score of 10 was meant to be 1, and above which it is right."""


def convert(row: Row) -> Record:
    responses, models, scores, n_corrected = [], [], [], 0
    for index, item in enumerate(as_items(find_column(row, "the answers", "completions"), "completions")):
        answer = as_object(item, f"completions[{index}]")
        responses.append(text_column(answer, "an answer", "response"))
        models.append(answer.get("model"))
        score = as_number(find_column(answer, "an answer's rating", "overall_score"))
        if score is None:
            raise LeftOutError("an answer has no overall score")
        if score == WRONG_SCORE:
            fine = as_number(answer.get("fine-grained_score"))
            if fine is not None and fine <= CORRECTED_UP_TO:
                score, n_corrected = RIGHT_SCORE, n_corrected + 1
            elif fine is not None and fine <= TRUSTED_ABOVE:
                raise LeftOutError(
                    "an overall score of 10 beside a mean fine-grained score of at most 4, as before revision 40b4365"
                )
        scores.append(score)
    if not responses:
        raise LeftOutError("there are no answers")
    record = {"prompt": text_column(row, "the prompt", "instruction"), **rated(responses, scores)}
    if n_corrected:
        record["corrected_scores"] = n_corrected
    return with_id(row, {**record, "models": models, "scores_given": scores}, "id")


SET = PublicSet(
    name="ultrafeedback",
    title="UltraFeedback",
    hub_id="openbmb/UltraFeedback",
    revision="40b436560ca83a8dba36114c22ab3c66e43f6d5e",
    licence="MIT",
    files=("*.jsonl", "*.parquet"),
    media=(),
    n_responses=4,
    is_verified=True,
    basis="the example in the publishers' README",
    convert=convert,
)
