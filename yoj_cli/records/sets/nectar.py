"""Nectar: 183k prompts, seven answers each, ranked by GPT-4.

Source: Hub `berkeley-nest/Nectar` (card; features in the converted copy's dataset_info.json).
Licence: Apache-2.0 "under the condition that the dataset is not used to compete with OpenAI".
Columns: `prompt, answers[{answer, model, rank}]`; the prompt is a dialogue "\\n\\nHuman: … \\n\\nAssistant: ".
"""

from __future__ import annotations

from yoj_cli.records.sets.columns import (
    as_items,
    as_number,
    as_object,
    find_column,
    prompt_of,
    rated,
    text_column,
)
from yoj_cli.records.sets.dialogue import parse_dialogue
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record, Row


def convert(row: Row) -> Record:
    responses, ranks, models = [], [], []
    for index, item in enumerate(as_items(find_column(row, "the answers", "answers"), "answers")):
        answer = as_object(item, f"answers[{index}]")
        rank = as_number(find_column(answer, "an answer's rank", "rank"))
        if rank is None:
            raise LeftOutError("an answer has no rank")
        responses.append(text_column(answer, "an answer", "answer"))
        ranks.append(-rank)  # 1 = best, so that the highest is
        models.append(answer.get("model"))
    if not responses:
        raise LeftOutError("there are no answers")
    prompt = text_column(row, "the prompt", "prompt")
    turns = parse_dialogue(prompt)
    if turns and turns[-1] == {"role": "assistant", "content": ""}:
        turns.pop()
    if not turns or turns[-1]["role"] != "user":
        turns = [{"role": "user", "content": prompt}]
    return {**prompt_of(turns), **rated(responses, ranks), "models": models}


SET = PublicSet(
    name="nectar",
    title="Nectar",
    hub_id="berkeley-nest/Nectar",
    revision="",
    licence="Apache-2.0, on the condition that it is not used to compete with OpenAI",
    files=("data/*.parquet", "*.parquet", "*.jsonl"),
    media=(),
    n_responses=7,
    is_verified=True,
    basis="the features listed with a copy on the Hub",
    convert=convert,
)
