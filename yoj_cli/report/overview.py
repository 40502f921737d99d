"""What the page says of all groups together: the figures of `yoj eval`, charts, and short lists to start from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.evaluate.benchmark import Benchmark
from yoj_cli.evaluate.compare import Comparison, compare
from yoj_cli.evaluate.evaluation import Evaluation, evaluate
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.positions import measure_flips, winners
from yoj_cli.evaluate.statistics import Figure
from yoj_cli.evaluate.tables import interval_text, value_text
from yoj_cli.render.wording import counted
from yoj_cli.report.charts import Chart, calibration_chart, lengths_chart, margins_chart, places_chart
from yoj_cli.report.entries import Entry, Outcome, margin, outcome
from yoj_cli.report.lists import N_LISTED, build_lists, link_to, list_failures

OUTCOMES: tuple[Outcome, ...] = ("right", "tie", "wrong", "unranked", "failed")


def build_overview(
    entries: Sequence[Entry],
    files: Sequence[Sequence[Judged]],
    benchmarks: Sequence[Benchmark],
    judges: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What the template of the overview shows.

    Args:
        files: the groups of each file, evaluated as its benchmark says.
    """
    sections = [
        _section(judge, file, benchmark)
        for judge, file, benchmark in zip(judges, files, benchmarks, strict=True)
    ]
    return {
        "n_groups": len(entries),
        "notes": notes,
        "sections": sections,
        "comparison": _comparison(entries, files, benchmarks[0]) if len(files) == 2 else None,
        "lists": build_lists(entries),
        "failures": list_failures(entries, judges),
    }


def _section(judge: Mapping[str, Any], file: Sequence[Judged], benchmark: Benchmark) -> dict[str, Any]:
    """One judge: how its groups came out, its figures and its charts."""
    counts = Counter(outcome(each) for each in file)
    evaluation = evaluate(file, benchmark) if any(each.is_gold for each in file) else None
    return {
        "judge": judge,
        "n": len(file),
        "counts": [(name, counts[name]) for name in OUTCOMES if counts[name]],
        "figures": _figures(evaluation) if evaluation else [],
        "remarks": _remarks(file, evaluation),
        "charts": _charts(file, evaluation),
    }


def _figures(evaluation: Evaluation) -> list[dict[str, Any]]:
    calibration = evaluation.calibration
    rows = [
        *(_row(figure) for figure in (*evaluation.headline, *evaluation.figures)),
        _row(Figure("best of N of a blind pick", evaluation.chance, None, None, evaluation.n_gold, "groups"))
        | {"kind": "base"},
        *(
            {**_row(figure), "name": f"{figure.name}: {name}", "kind": "base"}
            for name, figures in evaluation.baselines
            for figure in figures
        ),
        *(
            _row(figure)
            for figure in (calibration.ece, calibration.brier, calibration.nll, evaluation.risk.aurc)
        ),
    ]
    return [row for row in rows if row["value"]]


def _row(figure: Figure) -> dict[str, Any]:
    """A figure in the words of `yoj eval`, and where it stands on a line from 0 to 1 (shares only)."""
    is_share = figure.unit == "share"
    return {
        "name": figure.name,
        "value": "" if math.isnan(figure.value) else value_text(figure.value, figure.unit),
        "interval": "" if figure.low is None else interval_text(figure.low, figure.high, figure.unit),
        "n": f"{figure.n:,} {figure.counted}",
        "at": figure.value if is_share else None,
        "low": figure.low if is_share else None,
        "high": figure.high if is_share else None,
        "ties": f"{figure.n_ties:,} tied: {figure.ties}" if figure.n_ties else "",
        "kind": "",
    }


def _remarks(judged: Sequence[Judged], evaluation: Evaluation | None) -> list[str]:
    """What the order of the responses did, in sentences."""
    remarks = []
    flips = evaluation.flips if evaluation else measure_flips(judged)
    if flips:
        remarks.append(
            f"The winner changed with the order in {value_text(flips.share)} of {flips.n:,} groups "
            f"({interval_text(flips.low, flips.high)})."
        )
    for table in evaluation.positions[:1] if evaluation else ():
        first = table.places[0]
        if not math.isnan(first.difference):
            remarks.append(
                f"Read first, the best of {table.n_responses} won in {value_text(first.accuracy)} of {first.n:,} "
                f"groups, {value_text(first.difference, signed=True)} against all other places; "
                f"{value_text(first.smallest)} is the smallest difference that so many groups show."
            )
    n_abstained = sum(each.record.get("abstained") is True for each in judged)
    if n_abstained:
        remarks.append(f"The judge abstained from {counted(n_abstained, 'group')}.")
    return remarks


def _charts(judged: Sequence[Judged], evaluation: Evaluation | None) -> list[dict[str, Any]]:
    """Charts, each with its heading and the words below it."""
    scored = [each for each in judged if each.scores]
    charts: list[dict[str, Any]] = []

    def add(title: str, chart: Chart, note: str, key: Sequence[tuple[str, str]] = ()) -> None:
        charts.append({"title": title, "chart": chart, "note": note, "key": key})

    margins = [(found, outcome(each)) for each in scored if (found := margin(each)) is not None]
    if margins:
        kinds = [name for name in OUTCOMES if any(kind == name for _, kind in margins)]
        key: list[tuple[str, str]] = [
            (f"fill {name}", "no ranking" if name == "unranked" else name) for name in kinds
        ]
        add(
            "How sure it was",
            margins_chart(margins, kinds),
            "How far P(best) of the first is above the second's.",
            key,
        )
    if evaluation and evaluation.calibration.bins:
        note = "On the diagonal P(best) means what it says. Larger dots hold more groups; lines are 95 % intervals."
        add("Does P(best) mean what it says?", calibration_chart(evaluation.calibration.bins), note)
    n, won, gold = _places(scored)
    if n > 1:
        key = [
            ("fill winner", "judge's winners"),
            *([("gold", "given best")] if gold else []),
            ("even", "evenly spread"),
        ]
        note = f"Groups of {n} responses, by their place in the file."
        add("Where the winners stand", places_chart(won, gold), note, key)
    rows = _lengths(scored)
    if rows:
        add(
            "How long they are",
            lengths_chart(rows),
            "Boxes hold half of the responses, lines 90 %; the notch is the median.",
        )
    return charts


def _places(scored: Sequence[Judged]) -> tuple[int, list[float], list[float] | None]:
    """N of most groups; the share of its winners, and of its given best, in each place of the file (ties shared)."""
    sizes = Counter(len(each.scores) for each in scored)
    if not sizes:
        return 0, [], None
    n = sizes.most_common(1)[0][0]
    of_size = [each for each in scored if len(each.scores) == n]
    ranked = [each.rankings for each in of_size if each.is_gold and each.rankings]
    won = _shares(n, [winners(each.scores) for each in of_size])
    gold = _shares(n, [{i for i, rank in enumerate(ranks) if rank == min(ranks)} for ranks in ranked])
    return n, won, gold if ranked else None


def _shares(n: int, chosen: Sequence[set[int]]) -> list[float]:
    shares = [0.0] * n
    for places in chosen:
        for place in places:
            shares[place] += 1 / len(places) / len(chosen)
    return shares


def _lengths(scored: Sequence[Judged]) -> list[tuple[str, str, list[int]]]:
    """Lengths of winners and others, of the given best and others; only groups in which there are others."""
    won, lost, best, rest = [], [], [], []  # type: list[int], list[int], list[int], list[int]
    for each in scored:
        top = winners(each.scores)
        if len(top) < len(each.scores):
            for i, length in enumerate(each.lengths):
                (won if i in top else lost).append(length)
        if each.is_gold and each.rankings:
            for rank, length in zip(each.rankings, each.lengths, strict=True):
                (best if rank == min(each.rankings) else rest).append(length)
    rows = [
        ("winners", "winner", won),
        ("losers", "loser", lost),
        ("given best", "right", best),
        ("given rest", "loser", rest),
    ]
    return [row for row in rows if row[2]]


def _comparison(
    entries: Sequence[Entry], files: Sequence[Sequence[Judged]], benchmark: Benchmark
) -> dict[str, Any]:
    """The paired statistics of `yoj eval --compare`; the differing groups where nothing is ranked."""
    both = [
        entry.judged for entry in entries if all(each is not None and each.scores for each in entry.judged)
    ]
    same = sum(len({tuple(sorted(winners(each.scores))) for each in pair if each}) == 1 for pair in both)
    found: dict[str, Any] = {"n_both": len(both), "n_same": same, "paired": None, "rows": [], "flipped": []}
    if any(each is not None and each.is_gold for pair in both for each in pair):
        paired: Comparison = compare(files[0], files[1], benchmark)
        found["paired"] = paired
        found["rows"] = [
            {
                "name": each.name,
                "first": value_text(each.first, each.unit),
                "second": value_text(each.second, each.unit),
                "difference": value_text(each.difference, each.unit, signed=True),
                "interval": interval_text(each.low, each.high, each.unit),
                "p": "" if each.p is None else f"{each.p:.3g}",
            }
            for each in (*paired.differences, *paired.categories)
        ]
        keys = {each.where: entry.key for entry in entries if (each := entry.judged[0]) is not None}
        found["flipped"] = [
            (each, link_to(keys[each.where], f="differ")) for each in paired.flipped[:N_LISTED]
        ]
    return found
