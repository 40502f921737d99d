"""The figures of a saved run once more, from its lines alone and by other means: loops, fractions and scipy.

    python -m tests.recomputed RUN/verdicts.jsonl

Nothing of the package is imported.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def gold_of(line: Line) -> list[float] | None:
    if "chosen" in line:
        return [1, 2]
    if "ratings" in line:
        return [1 + sum(other > own for other in line["ratings"]) for own in line["ratings"]]
    return line.get("rankings")


def recompute(lines: list[Line]) -> dict[str, float]:
    """Figures by name, over the lines that have scores and a ranking that tells responses apart."""
    from scipy.stats import kendalltau, spearmanr

    hits: list[Fraction] = []
    right = pairs = tied = flipped = reread = 0
    taus, rhos, briers, nlls = [], [], [], []
    by_confidence: dict[float, list[float]] = defaultdict(list)
    categories: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    places: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        gold = gold_of(line)
        if "scores" in line and line["judge"].get("reversed_scores"):
            reread += 1
            winners = [
                sorted(i for i, s in enumerate(scores) if s == max(scores))
                for scores in (line["scores"], line["judge"]["reversed_scores"])
            ]
            flipped += winners[0] != winners[1]
        if "scores" not in line or gold is None or min(gold) == max(gold):
            continue
        scores, p_best = line["scores"], line["p_best"]
        top = [i for i, score in enumerate(scores) if score == max(scores)]
        best = [i for i, rank in enumerate(gold) if rank == min(gold)]
        hit = Fraction(len(set(top) & set(best)), len(top))
        hits.append(hit)
        for i, j in combinations(range(len(scores)), 2):
            if gold[i] != gold[j]:
                winner, loser = (i, j) if gold[i] < gold[j] else (j, i)
                pairs += 1
                right += scores[winner] > scores[loser]
                tied += scores[winner] == scores[loser]
                categories[line.get("category", "")][1] += 1
                categories[line.get("category", "")][0] += scores[winner] > scores[loser]
        if len(set(gold)) >= 3:
            varies = min(scores) < max(scores)
            negated = [-rank for rank in gold]
            taus.append(kendalltau(scores, negated).statistic if varies else 0.0)
            rhos.append(spearmanr(scores, negated).statistic if varies else 0.0)
        target = [1 / len(best) if i in best else 0.0 for i in range(len(gold))]
        briers.append(sum((p - y) ** 2 for p, y in zip(p_best, target, strict=True)))
        nlls.append(-sum(y * math.log(p) for p, y in zip(p_best, target, strict=True) if y))
        top_p = [i for i, p in enumerate(p_best) if p == max(p_best)]
        by_confidence[max(p_best)].append(len(set(top_p) & set(best)) / len(top_p))
        if len(best) == 1 and "order" in line["judge"]:
            places[line["judge"]["order"].index(best[0]) + 1].append(float(hit))
    found = {
        "groups": len(hits),
        "best of N": float(sum(hits) / len(hits)),
        "pooled pairwise accuracy": right / pairs,
        "pairs": pairs,
        "ties": tied,
        "macro": sum(r / n for r, n in categories.values()) / len(categories),
        "Brier": sum(briers) / len(briers),
        "NLL": sum(nlls) / len(nlls),
        "ECE": expected_calibration_error(by_confidence),
        "AURC": area(by_confidence),
        "flips": flipped / reread if reread else math.nan,
    }
    if taus:
        found |= {"tau": sum(taus) / len(taus), "rho": sum(rhos) / len(rhos)}
    return found | {f"place {place}": sum(each) / len(each) for place, each in places.items()}


def expected_calibration_error(by_confidence: dict[float, list[float]], n_bins: int = 15) -> float:
    n = sum(map(len, by_confidence.values()))
    error = 0.0
    for number in range(n_bins):
        inside = [
            (confidence, hit)
            for confidence, hits in by_confidence.items()
            for hit in hits
            if min(int(confidence * n_bins), n_bins - 1) == number
        ]
        error += abs(sum(confidence for confidence, _ in inside) - sum(hit for _, hit in inside)) / n
    return error


def area(by_confidence: dict[float, list[float]]) -> float:
    n = sum(map(len, by_confidence.values()))
    answered = wrong = total = 0.0
    for confidence in sorted(by_confidence, reverse=True):
        answered += len(by_confidence[confidence])
        wrong += sum(1 - hit for hit in by_confidence[confidence])
        total += len(by_confidence[confidence]) * wrong / answered
    return total / n


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    sys.stdout.write(json.dumps(recompute([json.loads(line) for line in text.splitlines()]), indent=2) + "\n")
