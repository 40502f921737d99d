"""Ways from votes on one prompt to ranks: the preference graph, win and loss counts, and the models of evalica."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, pairwise
from typing import Any

from yoj_cli.config.votes import Method
from yoj_cli.errors import InputError
from yoj_cli.votes.graph import join_votes, net, rank_by_graph
from yoj_cli.votes.vote import Vote

EVALICA = {
    "wins": "counting",
    "win-rate": "average_win_rate",
    "bradley-terry": "bradley_terry",
    "newman": "newman",
    "elo": "elo",
    "pagerank": "pagerank",
}
"""Method -> evalica's function. A tie counts half a win (Newman models it); Elo goes by the order of the votes.
Its `eigen` is left out: it ranks a response that never lost last."""

STRENGTHS = ("bradley-terry", "newman")
"""Methods whose scores are strengths: compared by their logarithm, and regularized, see PRIOR."""

PRIOR = 0.1
"""Weight of a tie that STRENGTHS count between every two responses. Without it a response that never lost, or never
won, has no finite strength, and evalica gives all of them the same."""

SAME = 1e-6
"""Scores that differ by less than this part of their range count as equal: iterations stop about there."""


def rank_by(method: Method, names: Sequence[str], votes: Sequence[Vote], *, key: str = "") -> tuple[int, ...]:
    """(N,) ranks, 1 = best; ties share the better rank.

    Args:
        key: of the group; see `tie_order`.
    Raises:
        InputError: the method finds no finite scores for these votes.
    """
    if method == "graph":
        return rank_by_graph(names, votes, key=key).ranks
    if method == "copeland":
        return _ranks(_copeland(names, votes))
    if method in STRENGTHS:
        prior = [Vote(a, b, "tie", weight=PRIOR) for a, b in combinations(names, 2)]
        strengths = _evalica(EVALICA[method], names, [*votes, *prior])
        scores = [math.log(strength) if strength > 0 else -math.inf for strength in strengths]
    else:
        scores = _evalica(EVALICA[method], names, votes)
    if not all(map(math.isfinite, scores)):
        raise InputError(f"{method} finds no finite scores for these votes", hint="Take another --method.")
    return _ranks(scores)


def _copeland(names: Sequence[str], votes: Sequence[Vote]) -> list[float]:
    """(N,) pairs won by the majority less pairs lost."""
    balance = dict.fromkeys(names, 0.0)
    for winner, loser in net(join_votes(votes)):
        balance[winner] += 1
        balance[loser] -= 1
    return [balance[name] for name in names]


def _evalica(function: str, names: Sequence[str], votes: Sequence[Vote]) -> list[float]:
    """(N,) scores."""
    import evalica
    import pandas as pd

    winners = {"a": evalica.Winner.X, "b": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    place = {name: at for at, name in enumerate(names)}
    compute: Callable[..., Any] = partial(getattr(evalica, function), index=pd.Index(range(len(names))))
    with (
        warnings.catch_warnings()
    ):  # that it stopped at its limit: an undefeated response has no finite strength
        warnings.simplefilter("ignore")
        result = compute(
            [place[vote.a] for vote in votes],
            [place[vote.b] for vote in votes],
            [winners[vote.winner] for vote in votes],
            weights=[vote.weight for vote in votes],
        )
    scores = result.scores.reindex(range(len(names)))
    return [float(score) for score in scores]


def _ranks(scores: Sequence[float]) -> tuple[int, ...]:
    """Of equal scores, or nearly equal ones, each has the rank of the first."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    limit = SAME * (max(scores) - min(scores)) if scores else 0.0
    ranks = [1] * len(scores)
    for place, (before, now) in enumerate(pairwise(order), start=2):
        ranks[now] = ranks[before] if scores[before] - scores[now] <= limit else place
    return tuple(ranks)
