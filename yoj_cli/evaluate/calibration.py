"""Whether P(best) means what it says: ECE, Brier, NLL, reliability; and risk against coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yoj_cli.evaluate.metrics import Floats, agreement_of, mean_of
from yoj_cli.evaluate.statistics import Figure, compute
from yoj_cli.verdicts.intervals import Resamples, percentile_interval, wilson

N_BINS = 15
"""As in C. Guo et al., On Calibration of Modern Neural Networks (2017)."""

SMALLEST_P = 1e-300
"""A probability that underflowed to 0 counts as this: 690 nats."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Groups whose highest P(best) lies in [low, high).

    Attributes:
        confidence: their mean highest P(best).
        accuracy: share of them whose top response is a best one, with its Wilson interval.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of P(best) over groups.

    Attributes:
        ece: expected calibration error of the highest P(best), over N_BINS equal bins; biased upwards where a bin
            has few groups, so its interval may lie above it.
        brier: mean over groups of sum((p - y)^2), y = 1 for the best response, shared by tied ones.
        nll: mean of -sum(y log p), nats.
        uniform_brier, uniform_nll: what p = 1/N would have.
        bins: those that have groups.
    """

    ece: Figure
    brier: Figure
    nll: Figure
    uniform_brier: float
    uniform_nll: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """What is gained by leaving the least sure groups out.

    Attributes:
        aurc: area under risk (the share of wrong winners) against coverage (the share of groups that are
            answered), most confident first.
        risk: of all groups; the AURC of a confidence that says nothing.
        least: the AURC of a confidence that puts every wrong group last.
        curve: (coverage, risk, lowest P(best) that is answered), at most 200 points.
    """

    aurc: Figure
    risk: float
    least: float
    curve: tuple[tuple[float, float, float], ...]

    def risk_at(self, coverage: float) -> float:
        """At the smallest coverage of the curve that reaches this one."""
        return next((risk for at, risk, _ in self.curve if at >= coverage - 1e-9), self.risk)


def measure_calibration(
    p_best: Sequence[Sequence[float]], rankings: Sequence[Sequence[float]], resamples: Resamples
) -> Calibration:
    """Calibration of given probabilities.

    Args:
        p_best: of each group, (N,), summing to 1.
        rankings: of each group, (N,) 1 = best; not all tied.
        resamples: of the same groups.
    """
    confidences, hits = confidences_and_hits(p_best, rankings)
    targets = [_target(ranking) for ranking in rankings]
    pairs = list(zip(p_best, targets, strict=True))
    brier = [math.fsum((p - y) ** 2 for p, y in zip(ps, ys, strict=True)) for ps, ys in pairs]
    nll = [
        -math.fsum(y * math.log(max(p, SMALLEST_P)) for p, y in zip(ps, ys, strict=True) if y)
        for ps, ys in pairs
    ]
    metrics = [
        mean_of("Brier score of P(best)", brier, unit="squared"),
        mean_of("NLL of P(best)", nll, unit="nats"),
    ]
    brier_figure, nll_figure = compute(metrics, resamples)
    return Calibration(
        ece=_ece(confidences, hits, resamples),
        brier=brier_figure,
        nll=nll_figure,
        uniform_brier=_mean([math.fsum((1 / len(ys) - y) ** 2 for y in ys) for ys in targets]),
        uniform_nll=_mean([math.log(len(ys)) for ys in targets]),
        bins=_bins(confidences, hits),
    )


def measure_risk(
    p_best: Sequence[Sequence[float]], rankings: Sequence[Sequence[float]], resamples: Resamples
) -> RiskCoverage:
    """Risk against coverage by the highest P(best); groups of equal confidence are answered together.

    Source: Y. Geifman and R. El-Yaniv, Selective Classification for Deep Neural Networks (2017).
    """
    confidences, hits = confidences_and_hits(p_best, rankings)
    if not len(hits):
        nothing = Figure("AURC", float("nan"), None, None, 0, "groups", unit="score")
        return RiskCoverage(nothing, float("nan"), float("nan"), ())
    order = np.argsort(-confidences, kind="stable")
    wrong, sure = 1 - hits[order], confidences[order]
    starts = np.flatnonzero(np.r_[True, sure[1:] != sure[:-1]])
    places = resamples.places[order]
    areas = [_areas(weights[:, places], wrong, starts) for weights in resamples.weights()]
    low, high = percentile_interval(np.concatenate(areas)) if resamples.n_clusters > 1 else (None, None)
    n = len(wrong)
    ends = np.r_[starts[1:], n]
    risks = np.cumsum(wrong)[ends - 1] / ends
    kept = np.unique(np.linspace(0, len(ends) - 1, min(len(ends), 200)).round().astype(int))
    curve = tuple((float(ends[i] / n), float(risks[i]), float(sure[ends[i] - 1])) for i in kept)
    value = float(_areas(np.ones((1, n)), wrong, starts)[0])
    least = float((np.cumsum(np.sort(wrong)) / np.arange(1, n + 1)).mean())
    figure = Figure("AURC", value, low, high, n, "groups", unit="score")
    return RiskCoverage(figure, float(wrong.mean()), least, curve)


def confidences_and_hits(
    p_best: Sequence[Sequence[float]], rankings: Sequence[Sequence[float]]
) -> tuple[Floats, Floats]:
    """Each group's highest P(best), and whether that response is a best one (its share, where several tie)."""
    hits = [
        agreement_of(tuple(ps), tuple(ranking)).best or 0.0
        for ps, ranking in zip(p_best, rankings, strict=True)
    ]
    return np.array([max(ps) for ps in p_best], dtype=np.float64), np.array(hits, dtype=np.float64)


def _areas(weights: Floats, wrong: Floats, starts: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    """(B, n) weights of groups, most confident first -> (B,) areas, blocks of equal confidence at once."""
    sizes, losses = weights, weights * wrong
    if len(starts) < len(wrong):
        sizes, losses = (np.add.reduceat(each, starts, axis=1) for each in (sizes, losses))
    covered, lost = np.cumsum(sizes, axis=1), np.cumsum(losses, axis=1)
    risks = np.divide(lost, covered, out=np.zeros_like(lost), where=covered > 0)
    areas: Floats = (sizes * risks).sum(axis=1) / covered[:, -1]
    return areas


def _bin_of(confidences: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.minimum((confidences * N_BINS).astype(np.intp), N_BINS - 1)


def _ece(confidences: Floats, hits: Floats, resamples: Resamples) -> Figure:
    n = len(hits)
    if not n:
        return Figure("ECE of P(best)", float("nan"), None, None, 0, "groups")
    columns = np.zeros((n, N_BINS + 1))
    columns[np.arange(n), _bin_of(confidences)] = confidences - hits
    columns[:, N_BINS] = 1
    totals = resamples.totals(columns)
    errors = np.abs(totals[:, :N_BINS]).sum(axis=1) / totals[:, N_BINS]
    low, high = percentile_interval(errors) if resamples.n_clusters > 1 else (None, None)
    value = float(np.abs(columns[:, :N_BINS].sum(axis=0)).sum() / n)
    return Figure("ECE of P(best)", value, low, high, n, "groups")


def _bins(confidences: Floats, hits: Floats) -> tuple[Bin, ...]:
    numbers, found = _bin_of(confidences), []
    for number in range(N_BINS):
        inside = numbers == number
        n = int(inside.sum())
        if n:
            low, high = wilson(float(hits[inside].sum()), n)
            means = float(confidences[inside].mean()), float(hits[inside].mean())
            found.append(Bin(number / N_BINS, (number + 1) / N_BINS, n, *means, low, high))
    return tuple(found)


def _target(ranking: Sequence[float]) -> list[float]:
    best = min(ranking)
    n_best = sum(rank == best for rank in ranking)
    return [1 / n_best if rank == best else 0.0 for rank in ranking]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else float("nan")
