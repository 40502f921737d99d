"""Multimodal RewardBench 2, reasoning: pairs whose answers are text on both sides (350 of 1,000).

Source: facebookresearch/MMRB2: benchmark/build_from_hf.py (Hub `rl-research/multimodal-rewardbench-2`, configuration
`reasoning`) and evaluate/compute_scores/compute_accuracy.py. Licence: CC-BY-NC-4.0.
Columns of the built `reasoning.json`: `pairs[{id, prompt_content[[kind, …]], response_a{response_content[[kind, …]]},
response_b, chosen}]`; on the Hub: `pair_id, prompt_text, prompt_images, response_a_text, response_a_images, …, chosen`,
where <image_N> in a text stands for a picture. The README speaks of `human_preference`; the scorer reads `chosen`.
Metric: each pair is judged in both orders, and accuracy is over all judgements; a tie is wrong. It needs --reversal (on
by default); without it every pair counts once.
Uncertain: pairs with a picture in an answer are passed over, so figures over all 1,000 are not comparable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, Term
from yoj_cli.records.sets.columns import as_items, as_object, as_text, find_column, find_optional, preferred

PLACEHOLDER = re.compile(r"<image_\d+>")


def convert(row: Mapping[str, Any]) -> Record | None:
    answers = [_answer(row, side) for side in ("a", "b")]
    if answers[0] is None or answers[1] is None:
        return None
    chosen = as_text(find_column(row, "the choice", "chosen"), "chosen").upper()
    if chosen not in ("A", "B"):
        raise InputError(f"chosen must be A or B, found {chosen[:40]!r}")
    blocks, pictures = _prompt(row)
    record: Record = {
        "id": str(find_column(row, "the id", "id", "pair_id")),
        "messages": [{"role": "user", "content": blocks}],
        **preferred(answers[0], answers[1], int(chosen == "B")),
        "category": str(find_optional(row, "prompt_source") or ""),
    }
    return {**record, "images": pictures} if pictures else record


def _answer(row: Mapping[str, Any], side: str) -> str | None:
    """An answer's text; None where it shows a picture."""
    if f"response_{side}_text" in row:
        text = row[f"response_{side}_text"]
        return text if isinstance(text, str) and text and not row.get(f"response_{side}_images") else None
    answer = as_object(
        find_column(row, "an answer", f"response_{side}", f"response_{side}_text"), "an answer"
    )
    parts = as_items(find_column(answer, "an answer's parts", "response_content"), "response_content")
    if any(part[0] != "text" for part in parts):
        return None
    return "\n\n".join(as_text(part[1], "an answer") for part in parts)


def _prompt(row: Mapping[str, Any]) -> tuple[list[Record], list[Any]]:
    """The prompt's blocks with placeholders, and the pictures they show."""
    blocks: list[Record] = []
    if "prompt_text" in row:
        text, pictures = str(row["prompt_text"] or ""), list(row.get("prompt_images") or [])
        pieces = PLACEHOLDER.split(text)
        n_placed = min(len(pieces) - 1, len(pictures))
        for index, piece in enumerate(pieces):
            if piece.strip():
                blocks.append({"type": "text", "text": piece.strip()})
            if index < n_placed:
                blocks.append({"type": "image"})
        if len(pieces) == 1:  # no placeholder: the publishers' script puts them at the end
            blocks += [{"type": "image"}] * len(pictures)
            n_placed = len(pictures)
        return blocks, pictures[:n_placed]
    pictures = []
    for kind, value in as_items(
        find_column(row, "the prompt", "prompt_content", "prompt_text"), "the prompt"
    ):
        if kind == "image":
            pictures.append(value)
            blocks.append({"type": "image"})
        else:
            blocks.append({"type": "text", "text": as_text(value, "the prompt")})
    return blocks, pictures


def headline(judged: Sequence[Judged]) -> list[Metric]:
    right, counted, n_ties = [], [], 0
    for each in judged:
        readings = [each.scores] + ([each.reversed_scores] if each.reversed_scores is not None else [])
        gold = each.rankings.index(min(each.rankings)) if each.rankings else 0
        right.append(sum(scores[gold] > scores[1 - gold] for scores in readings))
        counted.append(len(readings))
        n_ties += sum(scores[0] == scores[1] for scores in readings)
    term = Term("", 1.0, np.array(right, dtype=np.float64), np.array(counted, dtype=np.float64))
    return [Metric(BENCHMARK.metric_name, (term,), sum(counted), "judgements", n_ties, "a tie is wrong")]


BENCHMARK = Benchmark(
    name="mmrb2-reasoning",
    title="Multimodal RewardBench 2, reasoning, text answers",
    hub_id="rl-research/multimodal-rewardbench-2",
    revision="",
    licence="CC-BY-NC-4.0",
    size=350,
    metric_name="accuracy over judgements in both orders",
    convert=convert,
    headline=headline,
    files=("reasoning.json", "*reasoning*/*.parquet", "*reasoning*.parquet", "*reasoning*.json"),
    note="only pairs with text on both sides; figures over all 1,000 are not comparable",
)
