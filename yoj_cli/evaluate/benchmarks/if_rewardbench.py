"""IF-RewardBench: 842 instructions with constraints, several responses each, all preferences between them as a graph.

Source: thu-coai/IF-RewardBench (README, inference/ and metrics/analysis_overall_assessment.py; arXiv 2603.04738), file
`data/if_rewardbench.json`. Licence: no licence file. Text only.
Columns: `id, messages, checklist, instruction_type, responses[{response_id, response, …}],
preference_graph[{chosen{response_id}, rejected{response_id}}]`.
Metric: per instruction, tau-b over the graph's pairs ("Kendall Taub"), averaged within Single_Turn, Multi_Turn and
System_Prompt, and the plain mean of the three; accuracy over the graph's pairs is averaged in the same way. The
publishers' judges compare pairs and are ranked by Elo; a scalar judge's scores take that rating's place. It is not on
the Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.benchmarks.graph import Edge, edges_of, graph_tau, rankings_of
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Metric, Term, Unit
from yoj_cli.records.sets.columns import as_items, as_object, find_column, text_column, turns_of


def convert(row: Mapping[str, Any]) -> Record:
    responses, place = [], {}
    for index, item in enumerate(as_items(find_column(row, "the responses", "responses"), "responses")):
        answer = as_object(item, f"responses[{index}]")
        place[answer.get("response_id", index)] = index
        responses.append(text_column(answer, "a response", "response"))
    edges = []
    for item in as_items(find_column(row, "the preferences", "preference_graph"), "preference_graph"):
        pair = as_object(item, "preference_graph")
        ends = [as_object(pair.get(side), side).get("response_id") for side in ("chosen", "rejected")]
        if any(end not in place for end in ends):
            raise InputError(f"preference_graph names a response that is not there: {str(ends)[:40]}")
        edges.append([place[ends[0]], place[ends[1]]])
    return {
        "id": str(find_column(row, "the id", "id")),
        "messages": turns_of(find_column(row, "the conversation", "messages"), "messages"),
        "responses": responses,
        "rankings": rankings_of(len(responses), [(better, worse) for better, worse in edges]),
        "preferences": edges,
        "category": str(find_column(row, "the type", "instruction_type")),
    }


def headline(judged: Sequence[Judged]) -> list[Metric]:
    return [
        _macro(judged, "tau-b over preference graphs, macro over types", graph_tau, "tau"),
        _macro(judged, "accuracy over preference graphs, macro over types", _accuracy, "share"),
    ]


def _accuracy(scores: Sequence[float], edges: Sequence[Edge]) -> float:
    return sum(scores[better] > scores[worse] for better, worse in edges) / max(1, len(edges))


def _macro(
    judged: Sequence[Judged],
    name: str,
    measure: Callable[[Sequence[float], Sequence[Edge]], float],
    unit: Unit,
) -> Metric:
    values = np.array([measure(each.scores, edges_of(each)) for each in judged], dtype=np.float64)
    names = np.array([each.category for each in judged], dtype=object)
    types = sorted(set(names.tolist()))
    terms = tuple(
        Term(each, 1 / len(types), values * (names == each), (names == each).astype(np.float64))
        for each in types
    )
    n_ties = sum(each.scores[i] == each.scores[j] for each in judged for i, j in edges_of(each))
    return Metric(
        name, terms, len(judged), "groups", n_ties, "a tied pair is neither right nor reversed", unit
    )


BENCHMARK = Benchmark(
    name="if-rewardbench",
    title="IF-RewardBench",
    hub_id="",
    revision="",
    licence="not stated",
    size=842,
    metric_name="tau-b over preference graphs, macro over types",
    convert=convert,
    headline=headline,
    files=("if_rewardbench.json", "*.json", "*.jsonl"),
    note="not on the Hub: give data/if_rewardbench.json of thu-coai/IF-RewardBench with --data",
)
