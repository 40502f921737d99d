"""Readers and metrics of the benchmarks: hand-written rows of the real schemas, figures worked by hand."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Record
from yoj_cli.evaluate.benchmarks import (
    BENCHMARKS,
    if_rewardbench,
    mm_rlhf_rewardbench,
    mmrb2_reasoning,
    multimodal_rewardbench,
    rewardbench_2,
    vl_rewardbench,
)
from yoj_cli.evaluate.benchmarks.graph import graph_tau, rankings_of
from yoj_cli.evaluate.evaluation import evaluate
from yoj_cli.evaluate.judged import Judged, read_judged
from yoj_cli.evaluate.metrics import Metric
from yoj_cli.evaluate.sets import benchmark_source, read_benchmark
from yoj_cli.groups import Failure, Group
from yoj_cli.records.parse import parse
from yoj_cli.verdicts.verdict import p_best

BY_NAME = {each.name: each for each in BENCHMARKS}
PICTURE = {"bytes": b"\x89PNG\r\n\x1a\n...", "path": "1.png"}


def judged(
    scores: tuple[float, ...], rankings: tuple[float, ...], *, category: str = "", **more: Any
) -> Judged:
    fields = {"id": "x", "where": "x", "p_best": p_best(scores), "lengths": (1,) * len(scores)}
    return Judged(**{**fields, "scores": scores, "rankings": rankings, "category": category, **more})


def value(metric: Metric) -> float:
    """The metric by its definition: the weighted sum of its terms."""
    return sum(term.weight * term.numerators.sum() / term.denominators.sum() for term in metric.terms)


MMRB2 = {
    "id": "m",
    "prompt_content": [["image", "input_images/m.png"], ["text", "What?"]],
    "response_a": {"model_name": "x", "response_content": [["text", "a"]]},
    "response_b": {"model_name": "y", "response_content": [["text", "b"], ["text", "c"]]},
    "chosen": "B",
    "prompt_source": "blink",
}
MMRB2_HUB = {
    "pair_id": "m",
    "prompt_text": "See <image_1> and answer.",
    "prompt_images": [PICTURE],
    "response_a_text": "a",
    "response_a_images": [],
    "response_b_text": "b",
    "response_b_images": None,
    "chosen": "a",
}
OMNI = {
    "id": 1,
    "prompt": "What?",
    "image": PICTURE,
    "response1": "a",
    "response2": "b",
    "model1": "x",
    "model2": "y",
    "criteria": "Is it short?",
    "criteria_preference": "response2",
}
GRAPH = {
    "id": 5,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}],
    "checklist": ["short"],
    "instruction_type": "System_Prompt",
    "responses": [{"response_id": 10 + i, "response": text} for i, text in enumerate("abc")],
    "preference_graph": [
        {"chosen": {"response_id": 12}, "rejected": {"response_id": 10}},
        {"chosen": {"response_id": 11}, "rejected": {"response_id": 10}},
    ],
}

ROWS: list[tuple[str, dict[str, Any], Record]] = [
    (
        "vl-rewardbench",
        {
            "id": "mathverse_12",
            "query": "What?",
            "image": PICTURE,
            "response": ["a", "b"],
            "human_ranking": [1, 0],
        },
        {"id": "mathverse_12", "prompt": "What?", "rankings": [2, 1], "category": "reasoning"},
    ),
    (
        "multimodal-rewardbench",
        {
            "ID": "pairs_1",
            "Text": "What?",
            "Image": "images/1.jpg",
            "Category": "safety",
            "Output1": "a",
            "Output2": "b",
            "Better": "Output2",
        },
        {"images": ["images/1.jpg"], "responses": ["a", "b"], "rankings": [2, 1], "category": "safety/bias"},
    ),
    (
        "mm-rlhf-rewardbench",
        {"id": 3, "video": "video/clip", "prompt": "What?", "chosen": "a", "rejected": "b"},
        {"videos": ["video/clip"], "rankings": [1, 2], "category": "video", "cluster": "3"},
    ),
    (
        "videorewardbench",
        {"question": "What?", "video": "v.mp4", "chosen": "a", "rejected": "b", "dimension": "safety"},
        {"prompt": "What?", "videos": ["v.mp4"], "rankings": [1, 2], "category": "safety"},
    ),
    (
        "videorewardbench",
        {"prompt": "What?", "video": "v.mp4", "response1": "a", "response2": "b", "label": "B"},
        {"responses": ["a", "b"], "rankings": [2, 1]},
    ),
    (
        "mr2bench-image",
        {"prompt": "What?", "image": "1.jpg", "responses": ["a", "b", "c", "d"], "rankings": [0, 1, 2, 3]},
        {"images": ["1.jpg"], "rankings": [1, 2, 3, 4]},
    ),
    (
        "mr2bench-video",
        {"prompt": "What?", "video": "1.mp4", "responses": ["a", "b", "c", "d"], "rankings": [2, 1, 3, 3]},
        {"videos": ["1.mp4"], "rankings": [2, 1, 3, 3]},
    ),
    (
        "rewardbench-2",
        {"id": "tied:1", "prompt": "Hi?", "chosen": ["a", "b"], "rejected": ["c"], "subset": "Ties"},
        {"responses": ["a", "b", "c"], "rankings": [1, 1, 3], "category": "Ties"},
    ),
    (
        "mmrb2-reasoning",
        MMRB2,
        {
            "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
            "images": ["input_images/m.png"],
            "responses": ["a", "b\n\nc"],
            "rankings": [2, 1],
        },
    ),
    (
        "mmrb2-reasoning",
        MMRB2_HUB,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "See"},
                        {"type": "image"},
                        {"type": "text", "text": "and answer."},
                    ],
                }
            ],
            "images": [PICTURE],
            "rankings": [1, 2],
        },
    ),
    ("omni-rewardbench", OMNI, {"id": "1", "rankings": [2, 1], "category": "image"}),
    (
        "if-rewardbench",
        GRAPH,
        {"responses": ["a", "b", "c"], "preferences": [[2, 0], [1, 0]], "rankings": [3, 1, 1]},
    ),
]


def test_every_benchmark_is_tested() -> None:
    assert {name for name, _, _ in ROWS} | {"mm-rlhf-rewardbench-groups"} == set(BY_NAME)


@pytest.mark.parametrize(
    ("name", "row", "expected"), ROWS, ids=[f"{i}-{row[0]}" for i, row in enumerate(ROWS)]
)
def test_a_row_becomes_a_group(name: str, row: dict[str, Any], expected: Record) -> None:
    record = BY_NAME[name].convert(row)
    assert record is not None
    assert {key: record[key] for key in expected} == expected
    shown = {key: ["x"] * len(record[key]) for key in ("images", "videos") if key in record}
    group = parse({**record, **shown})
    assert group.rankings == tuple(record["rankings"])
    assert len(group.media) == sum(map(len, shown.values()))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_missing_column_names_what_was_looked_for_and_what_is_there(name: str) -> None:
    with pytest.raises(InputError, match=r"looked for .*; found other, strange"):
        BY_NAME[name].convert({"strange": 1, "other": 2})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vl-rewardbench", {"human_ranking": [0, 0]}),
        ("multimodal-rewardbench", {"Better": "Output3"}),
        ("mmrb2-reasoning", {"chosen": "C"}),
        ("omni-rewardbench", {"criteria_preference": "both"}),
        ("rewardbench-2", {"rejected": []}),
        (
            "if-rewardbench",
            {"preference_graph": [{"chosen": {"response_id": 99}, "rejected": {"response_id": 10}}]},
        ),
    ],
)
def test_a_gold_answer_that_is_none_is_an_error(name: str, change: dict[str, Any]) -> None:
    row = next(row for each, row, _ in ROWS if each == name)
    with pytest.raises(InputError):
        BY_NAME[name].convert({**row, **change})


def test_rows_that_a_benchmark_is_not_about_are_passed_over() -> None:
    shows = {"model_name": "x", "response_content": [["text", "a"], ["image", "x.png"]]}
    assert mmrb2_reasoning.convert({**MMRB2, "response_a": shows}) is None
    assert mmrb2_reasoning.convert({**MMRB2_HUB, "response_b_images": [PICTURE]}) is None
    omni = BY_NAME["omni-rewardbench"].convert
    assert omni({**OMNI, "response1": {"bytes": b"..."}}) is None
    assert omni({**OMNI, "image": None}) is None


def test_omnirewardbenchs_criterion_stands_below_the_question() -> None:
    record = BY_NAME["omni-rewardbench"].convert(OMNI)
    assert record is not None
    assert parse({**record, "images": ["x.png"]}).prompt.split() == (
        ["What?", "Judge", "the", "answer", "by", "this", "criterion:", "Is", "it", "short?"]
    )


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("RLAIF-V_1", "hallucination"),
        ("RLHF-V-2", "hallucination"),
        ("hallucination_pair-3", "hallucination"),
        ("mathverse_1", "reasoning"),
        ("mmmu-pro_4", "reasoning"),
        ("wildvision-battle_5", "general"),
        ("whatever", "general"),
    ],
)
def test_vl_rewardbenchs_group_follows_from_the_id(name: str, group: str) -> None:
    assert vl_rewardbench.group_of(name) == group


def test_vl_rewardbenchs_headline_is_the_plain_mean_of_its_groups() -> None:
    right, wrong, tied = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)
    runs = [
        ("general", right),
        ("general", right),
        ("general", wrong),
        ("reasoning", tied),
        ("hallucination", right),
    ]
    found = [judged(scores, (1, 2), category=category) for category, scores in runs]
    macro, pooled = vl_rewardbench.headline(found)
    assert value(macro) == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert value(pooled) == pytest.approx(3 / 5)
    assert macro.name == vl_rewardbench.BENCHMARK.metric_name


@pytest.mark.parametrize(
    ("category", "name", "expected"),
    [
        ("safety", "PAIRS_1", "safety/bias"),
        ("safety", "hateful_1", "safety/toxicity"),
        ("reasoning", "math_7", "reasoning/math"),
        ("reasoning", "plotcode_7", "reasoning/coding"),
        ("knowledge", "mmmu_7", "knowledge"),
    ],
)
def test_multimodal_rewardbench_divides_two_categories(category: str, name: str, expected: str) -> None:
    assert multimodal_rewardbench.category_of(category, name) == expected


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("images/short/long_story.jpg", "short"),
        ("safety_3.png", "safety"),
        ("./video/a/clip", "video"),
        ({"bytes": b"...", "path": "mcq/1.png"}, "mcq"),
        ("my_long_walk/1.png", "other"),
        (b"...", "other"),
    ],
)
def test_mm_rlhfs_category_begins_a_part_of_the_path(path: Any, category: str) -> None:
    assert mm_rlhf_rewardbench.category_of(path) == category


def test_mm_rlhfs_acc_and_acc_plus() -> None:
    runs = [("1", (1.0, 0.0)), ("1", (1.0, 1.0)), ("2", (2.0, 1.0)), ("2", (3.0, 1.0)), ("3", (0.0, 1.0))]
    acc, plus, _ = mm_rlhf_rewardbench.headline(
        [judged(scores, (1, 2), cluster=name) for name, scores in runs]
    )
    assert value(acc) == pytest.approx(3 / 5)
    assert value(plus) == pytest.approx(1 / 3)


def test_mm_rlhfs_pairs_join_to_whole_groups() -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d")]
    rows = [
        {"id": 1, "image": "short/1.jpg", "prompt": "p", "chosen": one, "rejected": two} for one, two in pairs
    ]
    records = [mm_rlhf_rewardbench.convert(row) for row in rows]
    (group,) = mm_rlhf_rewardbench.join(records)
    assert group["responses"] == ["a", "b", "c", "d"]
    assert group["rankings"] == [1, 2, 2, 4]
    with pytest.raises(InputError, match="id 1: the preferences contradict"):
        list(mm_rlhf_rewardbench.join([*records, {**records[0], "responses": ["d", "a"]}]))


def official_ties_score(rows: list[tuple[str, int, list[float]]]) -> float:
    """RewardBench 2's own steps, written again from allenai/reward-bench's rewardbench/utils.py."""
    stats: dict[str, dict[str, tuple[bool, float, float]]] = defaultdict(dict)
    for name, n_right, scores in rows:
        kind, number = name.split(":")
        right, wrong = scores[:n_right], scores[n_right:]
        gap = min(right) - max(wrong)
        stats[kind][number] = (gap > 0, max(right) - min(right), gap)
    both = sorted(set(stats["ref"]) & set(stats["tied"]))
    spread = np.array([stats["tied"][each][1] for each in both])
    tied, ref = (np.array([stats[kind][each][2] for each in both]) for kind in ("tied", "ref"))
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.nan_to_num(np.tanh(np.minimum(ref, tied) / spread - 1), nan=0.0)
    return float(
        0.30 * np.mean([each[0] for each in stats["tied"].values()])
        + 0.30 * np.mean([each[0] for each in stats["ref"].values()])
        + 0.20 * np.mean(tied > spread)
        + 0.20 * np.mean(np.minimum(ref, tied) > spread)
        + 0.01 * np.mean(margin)
    )


def test_rewardbench_2_is_the_mean_of_its_subsets_with_ties_scored_as_its_code_does() -> None:
    random = np.random.default_rng(0)
    rows = [("ref:0", 1, [3.0, 1.0]), ("tied:0", 2, [3.0, 3.0, 1.0])]
    rows += [("tied:1", 2, [1.0, 1.0, 1.0]), ("ref:1", 1, [1.0, 1.0])]
    for number in range(2, 40):
        rows.append((f"ref:{number}", 1, random.normal(size=4).round(2).tolist()))
        if number % 5:
            rows.append((f"tied:{number}", 3, random.normal(loc=[2, 2, 2, 0, 0, 0]).round(2).tolist()))
    ties = [
        judged(tuple(scores), (1,) * n + (n + 1,) * (len(scores) - n), category="Ties", id=name)
        for name, n, scores in rows
    ]
    facts = [
        judged(scores, (1, 2, 2, 2), category="Factuality")
        for scores in ((2.0, 1.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))
    ]
    whole, factuality, of_ties = rewardbench_2.headline([*ties, *facts])
    assert value(of_ties) == pytest.approx(official_ties_score(rows))
    assert value(factuality) == pytest.approx(0.5)
    assert value(whole) == pytest.approx((official_ties_score(rows) + 0.5) / 2)
    assert whole.name == "mean of 2 subsets"
    computed = evaluate([*ties, *facts], rewardbench_2.BENCHMARK, scorer="s")
    assert computed.headline[0].value == pytest.approx(value(whole))


def test_mmrb2_counts_every_judgement_of_both_orders() -> None:
    found = [
        judged((1.0, 0.0), (1, 2), reversed_scores=(0.0, 1.0)),
        judged((1.0, 0.0), (1, 2), reversed_scores=(1.0, 0.0)),
        judged((1.0, 1.0), (2, 1), reversed_scores=(0.0, 1.0)),
    ]
    (metric,) = mmrb2_reasoning.headline(found)
    assert (metric.n, metric.n_ties) == (6, 1)
    assert value(metric) == pytest.approx(4 / 6)
    assert value(mmrb2_reasoning.headline([judged((1.0, 0.0), (1, 2))])[0]) == 1


@pytest.mark.parametrize(
    ("scores", "tau"),
    [
        ((0.0, 1.0, 2.0), 1.0),
        ((2.0, 1.0, 0.0), -1.0),
        ((1.0, 1.0, 2.0), 1 / math.sqrt(2)),
        ((1.0, 1.0, 1.0), 0.0),
    ],
)
def test_graph_tau_counts_the_graphs_pairs_only(scores: tuple[float, ...], tau: float) -> None:
    assert graph_tau(scores, [(2, 0), (1, 0)]) == pytest.approx(tau)


def test_if_rewardbench_is_the_mean_over_instruction_types() -> None:
    found = [
        judged((0.0, 1.0, 2.0), (3, 1, 1), category="Single_Turn", preferences=((2, 0), (1, 0))),
        judged((2.0, 1.0, 0.0), (3, 1, 1), category="Single_Turn", preferences=((2, 0), (1, 0))),
        judged((0.0, 1.0), (2, 1), category="Multi_Turn"),
    ]
    tau, accuracy = if_rewardbench.headline(found)
    assert value(tau) == pytest.approx((0 + 1) / 2)
    assert value(accuracy) == pytest.approx((0.5 + 1) / 2)


def test_ranks_of_a_graph_count_who_is_better() -> None:
    assert rankings_of(4, [(0, 1), (1, 2), (0, 3)]) == [1, 2, 3, 2]
    with pytest.raises(InputError, match="contradict"):
        rankings_of(3, [(0, 1), (1, 2), (2, 0)])


def test_preferences_survive_a_saved_line(tmp_path: Path) -> None:
    record = if_rewardbench.convert(GRAPH)
    path = tmp_path / "v.jsonl"
    line = {**(record or {}), "scores": [0, 1, 2]}
    path.write_text(f"{json.dumps(line)}\n{json.dumps({**line, 'preferences': [[9, 0]]})}\n")
    lines = read_judged([path])
    assert next(lines).preferences == ((2, 0), (1, 0))
    with pytest.raises(InputError, match="'preferences' must be pairs"):
        next(lines)


def test_a_broken_row_fails_in_its_place_and_says_where(tmp_path: Path) -> None:
    good = {"id": "a-1", "query": "q", "image": "1.png", "response": ["a", "b"], "human_ranking": [0, 1]}
    rows = [good, {**good, "human_ranking": None}, {**good, "image": "../1.png"}, {**good, "image": "2.png"}]
    (tmp_path / "1.png").write_bytes(PICTURE["bytes"])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = BY_NAME["vl-rewardbench"]
    first, *others = read_benchmark(benchmark, benchmark_source(benchmark, tmp_path / "rows.jsonl"))
    assert isinstance(first, Group)
    assert first.media[0].path == str(tmp_path / "1.png")
    assert [str(each.error).splitlines()[0] for each in others if isinstance(each, Failure)] == [
        "rows.jsonl:2: human_ranking must be a list, found nothing",
        "rows.jsonl:3: '../1.png': this path does not stay inside the data set",
        f"rows.jsonl:4: there is no '2.png' in {tmp_path}, {tmp_path}",
    ]


def test_a_benchmark_that_is_nowhere_on_the_hub_says_what_to_give() -> None:
    with pytest.raises(InputError, match=r"(?s)if-rewardbench: is not on the Hub.*--data PATH"):
        benchmark_source(BY_NAME["if-rewardbench"], None)
