"""Losses over the scores of one group: how far they are from the group's ranking, in nats."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import softplus

from yoj_cli.config.train import Loss


def n_way_cross_entropy(scores: Tensor, rankings: Tensor) -> Tensor:
    """Loss for picking a best response out of a group; with two responses it is Bradley-Terry.

    Args:
        scores: (N,) float32 logits.
        rankings: (N,) float32, the lowest is the best; tied best responses share the target equally.
    Returns:
        () float32, nats; log(N) when all scores are equal.
    Source: arXiv 2604.10966, section on training.
    """
    return -scores.log_softmax(dim=0)[rankings == rankings.min()].mean()


def plackett_luce(scores: Tensor, rankings: Tensor) -> Tensor:
    """Loss of the whole ranking: the best is picked out of all, the next out of the rest, and so on.

    Each pick is the cross-entropy above; tied responses are one pick that they share equally. The last rank is
    no pick: nothing else is left.

    Args:
        scores: (N,) float32 logits.
        rankings: (N,) float32, lower is better, ties allowed.
    Returns:
        () float32, nats, the negative log-likelihood: log(N!) when all scores are equal and nothing ties; zero
        when everything ties.
    Source: R. L. Plackett, Applied Statistics 24 (1975), pages 193-202.
    """
    levels = torch.unique(rankings)[:-1]
    picks = [n_way_cross_entropy(scores[rankings >= level], rankings[rankings >= level]) for level in levels]
    return torch.stack(picks).sum() if picks else scores.sum() * 0


def bradley_terry(scores: Tensor, rankings: Tensor) -> Tensor:
    """Mean loss over all pairs that the ranking orders strictly.

    Args:
        scores: (N,) float32 logits.
        rankings: (N,) float32, lower is better; tied pairs say nothing and are left out.
    Returns:
        () float32, nats per pair; log(2) when all scores are equal, zero when everything ties.
    Source: R. A. Bradley and M. E. Terry, Biometrika 39 (1952), pages 324-345; the mean over the K-choose-2
        pairs of a group as in arXiv 2203.02155.
    """
    better, worse = (rankings[:, None] < rankings[None, :]).nonzero(as_tuple=True)
    return softplus(scores[worse] - scores[better]).mean() if len(better) else scores.sum() * 0


RankingLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(N,) scores and (N,) rankings of a group to a () loss in nats."""

LOSSES: dict[Loss, RankingLoss] = {
    "ce": n_way_cross_entropy,
    "plackett-luce": plackett_luce,
    "bradley-terry": bradley_terry,
}
