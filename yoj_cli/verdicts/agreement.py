"""How scores agree with a given ranking, for one group and over a stream of groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yoj_cli.verdicts.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one group's scores agree with its rankings. Where all rankings tie there is nothing to agree on and
    `best`, `chance` and `tau` are None.

    Attributes:
        best: the part of the top-scored responses that the rankings call best: 0 or 1 unless several scores
            tie at the top. It is the expected hit of picking one of them blindly; with one best response it
            is 1 / (number of maxima), the rule of RewardBench 2.
        chance: `best` for a blind pick among all responses.
        n_pairs: pairs that the rankings order strictly.
        n_right: those of them that the scores order the same way; equal scores are wrong.
        tau: Kendall's tau-b; 0.0 where all scores tie.
    """

    best: float | None
    chance: float | None
    n_pairs: int
    n_right: int
    tau: float | None


def agreement(scores: Sequence[float], rankings: Sequence[float]) -> Agreement:
    """Compare scores (higher is better) with rankings (1 = best, ties allowed).

    Source of tau-b: M. G. Kendall, Biometrika 33 (1945), pages 239-251: (right - reversed) over the geometric
    mean of the numbers of pairs that each side orders strictly.
    """
    if len(scores) != len(rankings):
        raise ValueError(f"{len(scores)} scores, but {len(rankings)} rankings")
    n_pairs = n_scored_pairs = n_right = n_reversed = 0
    for i in range(len(scores)):
        for j in range(i):
            better = rankings[j] - rankings[i]
            higher = scores[i] - scores[j]
            n_pairs += better != 0
            n_scored_pairs += higher != 0
            n_right += better * higher > 0
            n_reversed += better * higher < 0
    if n_pairs == 0:
        return Agreement(None, None, 0, 0, None)
    best_ranking, top_score = min(rankings), max(scores)
    at_top = [
        ranking == best_ranking for ranking, score in zip(rankings, scores, strict=True) if score == top_score
    ]
    return Agreement(
        best=sum(at_top) / len(at_top),
        chance=sum(ranking == best_ranking for ranking in rankings) / len(rankings),
        n_pairs=n_pairs,
        n_right=n_right,
        tau=(n_right - n_reversed) / math.sqrt(n_pairs * n_scored_pairs) if n_scored_pairs else 0.0,
    )


@dataclass(frozen=True, slots=True)
class MeanAgreement:
    """Agreement over the `n_groups` groups whose rankings are not all tied.

    `best`, `chance` and `tau` are means over groups, `pairs` is pooled over all `n_pairs` pairs.
    """

    n_groups: int
    best: float
    chance: float
    n_pairs: int
    pairs: float
    tau: float


@dataclass(slots=True)
class Summary:
    """Running totals over a stream of groups, in constant memory.

    Of the `n_scored` groups `n_abstained` have no response that is likely enough to be the best. `n_reordered` groups
    were read in several orders; in `n_changed` of them the orders do not all agree on the best.
    """

    n_scored: int = 0
    n_failed: int = 0
    n_abstained: int = 0
    n_tokens: int = 0
    n_reordered: int = 0
    n_changed: int = 0
    n_ranked: int = 0
    n_pairs: int = 0
    n_right: int = 0
    best_sum: float = 0.0
    chance_sum: float = 0.0
    tau_sum: float = 0.0

    def add(self, verdict: Verdict) -> None:
        self.n_scored += 1
        self.n_abstained += verdict.abstained
        self.n_tokens += verdict.n_tokens
        if verdict.order_agreement is not None:
            self.n_reordered += 1
            self.n_changed += verdict.order_agreement < 1
        if verdict.group.rankings is not None:
            self.add_agreement(agreement(verdict.scores, verdict.group.rankings))

    def add_failure(self) -> None:
        self.n_failed += 1

    def add_agreement(self, one: Agreement) -> None:
        if one.best is None or one.chance is None or one.tau is None:
            return
        self.n_ranked += 1
        self.n_pairs += one.n_pairs
        self.n_right += one.n_right
        self.best_sum += one.best
        self.chance_sum += one.chance
        self.tau_sum += one.tau

    @property
    def agreement(self) -> MeanAgreement | None:
        n = self.n_ranked
        if n == 0:
            return None
        return MeanAgreement(
            n_groups=n,
            best=self.best_sum / n,
            chance=self.chance_sum / n,
            n_pairs=self.n_pairs,
            pairs=self.n_right / self.n_pairs,
            tau=self.tau_sum / n,
        )
