"""RewardBench 2: 1,865 text prompts in six subsets, best of 4, and Ties.

Source: Hub `allenai/reward-bench-2`, split `test`; allenai/reward-bench: rewardbench/utils.py (process_single_model,
_compute_prompt_stats) and scripts/run_v2.py. Licence: ODC-BY.
Columns: `id, prompt, chosen[], rejected[], num_correct, num_incorrect, total_completions, models[], subset`.
Metric: the plain mean of six subsets. Five: 1 / (number of maxima) if the chosen response is at the maximum, else 0.
Ties (ids "ref:n" with one right answer, "tied:n" with several): 0.30 accuracy on tied + 0.30 on ref, where all right
answers must outscore all wrong ones, + over the n that have both: 0.20 mean(gap of tied > spread) + 0.20 mean(min(gap
of ref, gap of tied) > spread) + 0.01 mean(tanh(min(...) / spread - 1)), where the gap is the worst right score minus
the best wrong one, and the spread is the best right score minus the worst one, of tied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yoj_cli.errors import InputError
from yoj_cli.evaluate.benchmark import Benchmark, Record
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import Floats, Metric, Term, agreements
from yoj_cli.records.sets.columns import as_items, find_column, text_column

TIES = "ties"


def convert(row: Mapping[str, Any]) -> Record:
    right = as_items(find_column(row, "the right answers", "chosen"), "chosen")
    wrong = as_items(find_column(row, "the wrong answers", "rejected"), "rejected")
    if not right or not wrong:
        raise InputError("a row needs right and wrong answers")
    name = str(find_column(row, "the id", "id"))
    return {
        "id": name,
        "prompt": text_column(row, "the prompt", "prompt"),
        "responses": [*right, *wrong],
        "rankings": [1] * len(right) + [1 + len(right)] * len(wrong),
        "category": str(find_column(row, "the subset", "subset")),
    }


@dataclass(frozen=True, slots=True)
class _Prompt:
    """One prompt of Ties.

    Attributes:
        place: of its group.
        is_right: all right answers outscore all wrong ones.
        gap: worst right score - best wrong score.
        spread: best right score - worst right score.
    """

    place: int
    is_right: bool
    gap: float
    spread: float


def headline(judged: Sequence[Judged]) -> list[Metric]:
    """The mean of the subsets that are there, and each of them."""
    found = agreements(judged)
    subsets = sorted({each.category for each in judged})
    of_subset: dict[str, tuple[Term, ...]] = {}
    for subset in subsets:
        places = [place for place, each in enumerate(judged) if each.category == subset]
        if subset.lower() == TIES:
            of_subset[subset] = _ties_terms(judged, places)
        else:
            values = {place: found[place].best or 0.0 for place in places}
            of_subset[subset] = (_term(subset, 1.0, values, len(judged)),)
    n_ties = sum(each.scores.count(max(each.scores)) > 1 for each in judged)
    rule = "k tied at the top count 1/k each; Ties has its own score"
    terms = tuple(
        Term(term.name, term.weight / len(subsets), term.numerators, term.denominators)
        for parts in of_subset.values()
        for term in parts
    )
    name = f"mean of {len(subsets)} subsets"
    whole = Metric(name, terms, len(judged), "groups", n_ties, rule, "score")
    each_subset = [
        Metric(
            f"{subset}: {'Ties score' if subset.lower() == TIES else 'best of N'}",
            parts,
            sum(each.category == subset for each in judged),
            "groups",
            unit="score",
        )
        for subset, parts in of_subset.items()
    ]
    return [whole, *each_subset]


def _ties_terms(judged: Sequence[Judged], places: Sequence[int]) -> tuple[Term, ...]:
    by_kind: dict[str, dict[str, _Prompt]] = {"ref": {}, "tied": {}}
    for place in places:
        kind, _, number = judged[place].id.partition(":")
        by_kind["ref" if kind == "ref" else "tied"][number] = _prompt_of(judged[place], place)
    refs, tied = by_kind["ref"], by_kind["tied"]
    both = [(refs[number], tied[number]) for number in tied if number in refs]
    n = len(judged)

    def over_both(name: str, weight: float, value: Callable[[_Prompt, _Prompt], float]) -> Term:
        return _term(name, weight, {two.place: float(value(one, two)) for one, two in both}, n)

    return (
        _term("tied accuracy", 0.30, {each.place: float(each.is_right) for each in tied.values()}, n),
        _term("ref accuracy", 0.30, {each.place: float(each.is_right) for each in refs.values()}, n),
        over_both("tied gap over spread", 0.20, lambda one, two: two.gap > two.spread),
        over_both("both gaps over spread", 0.20, lambda one, two: min(one.gap, two.gap) > two.spread),
        over_both("margin", 0.01, lambda one, two: _margin(min(one.gap, two.gap), two.spread)),
    )


def _prompt_of(judged: Judged, place: int) -> _Prompt:
    best = min(judged.rankings or (1.0,))
    pairs = list(zip(judged.scores, judged.rankings or (), strict=True))
    right = [score for score, rank in pairs if rank == best]
    wrong = [score for score, rank in pairs if rank != best]
    gap = min(right) - max(wrong)
    return _Prompt(place, gap > 0, gap, max(right) - min(right))


def _margin(gap: float, spread: float) -> float:
    if spread == 0:
        return 0.0 if gap == 0 else math.copysign(1.0, gap)  # tanh of infinity; 0 / 0 counts 0
    return math.tanh(gap / spread - 1)


def _term(name: str, weight: float, values: Mapping[int, float], n: int) -> Term:
    numerators: Floats = np.zeros(n)
    denominators: Floats = np.zeros(n)
    for place, value in values.items():
        numerators[place], denominators[place] = value, 1.0
    return Term(name, weight, numerators, denominators)


BENCHMARK = Benchmark(
    name="rewardbench-2",
    title="RewardBench 2",
    hub_id="allenai/reward-bench-2",
    revision="",
    licence="ODC-BY",
    size=1865,
    metric_name="mean of 6 subsets",
    convert=convert,
    headline=headline,
    files=("data/test*.parquet", "*test*.parquet", "*.parquet", "*.jsonl", "*.json"),
    note="text only",
)
