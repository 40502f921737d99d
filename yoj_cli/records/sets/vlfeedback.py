"""VLFeedback: 80k pictures with an instruction, four answers each, rated by GPT-4V.

Source: Hub `MMInstruction/VLFeedback` (card). Licence: none stated.
Columns: `prompt, models, completions[{response, model, annotations{Helpfulness, Visual Faithfulness, Ethical
Considerations}{Rating, Rationale}}], img_path`; pictures in merged_images.zip. Ratings are texts, "1" to "5" or "N/A".
The rating here is the mean of the three aspects, as in the publishers' paper (arXiv 2312.10665).
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    as_items,
    as_number,
    as_object,
    find_column,
    media_of,
    rated,
    text_column,
    with_id,
    without_placeholder,
)
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row

ASPECTS = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")


def convert(row: Row) -> Record:
    responses, ratings, models = [], [], []
    for index, item in enumerate(as_items(find_column(row, "the answers", "completions"), "completions")):
        answer = as_object(item, f"completions[{index}]")
        aspects = as_object(find_column(answer, "an answer's ratings", "annotations"), "annotations")
        values = [
            as_number(as_object(find_column(aspects, "an aspect", name), name).get("Rating"))
            for name in ASPECTS
        ]
        given = [value for value in values if value is not None]
        if len(given) < len(ASPECTS):
            raise LeftOutError("an answer is not rated in all aspects")
        responses.append(text_column(answer, "an answer", "response"))
        ratings.append(sum(given) / len(given))
        models.append(answer.get("model"))
    if not responses:
        raise LeftOutError("there are no answers")
    prompt = without_placeholder(text_column(row, "the prompt", "prompt"))
    record = {"prompt": prompt, **media_of(row, is_needed=True), **rated(responses, ratings)}
    return with_id(row, {**record, "models": models}, "id")


SET = PublicSet(
    name="vlfeedback",
    title="VLFeedback",
    hub_id="MMInstruction/VLFeedback",
    revision="",
    licence="not stated",
    files=("vlfeedback_80k.jsonl", "data/*.parquet", "*.jsonl"),
    media=("merged_images.zip",),
    n_responses=4,
    is_verified=True,
    basis="the features in the set's card",
    convert=convert,
)
