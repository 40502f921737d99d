"""How far annotators agree: Krippendorff's alpha over pairs of responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from yoj_cli.votes.graph import tie_order
from yoj_cli.votes.vote import Vote, VotedGroup

N_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's alpha, nominal: 1 = annotators always agree, 0 = as by chance.

    Attributes:
        low, high: 95 % bootstrap interval (Krippendorff 2006).
        n_pairs: pairs of responses that at least two annotators judged.
    """

    value: float
    low: float
    high: float
    n_pairs: int


def measure_agreement(groups: Iterable[VotedGroup], *, seed: int = 0) -> Alpha | None:
    """Alpha over all pairs of responses; None where no pair has two annotators, or all judgments are the same.

    A judgment is the first, the second, or a tie. Which response of a pair is the first follows from a digest of the
    names: were it the better one more often, alpha would take agreement for chance. Of several votes by one annotator
    on one pair the net counts.
    """
    import evalica
    import pandas as pd

    units = [values for group in groups for values in _judgments(group) if len(values) > 1]
    if not units or len({value for values in units for value in values}) < 2:
        return None
    # Alpha knows how often a unit was judged how, not by whom: rows are the first, second … judgment of each unit.
    depth = max(map(len, units))
    rows = [[values[at] if at < len(values) else None for values in units] for at in range(depth)]
    found = evalica.alpha_bootstrap(
        pd.DataFrame(rows, dtype="float64"), n_resamples=N_RESAMPLES, random_state=seed
    )
    return Alpha(float(found.alpha), float(found.low), float(found.high), len(units))


def _judgments(group: VotedGroup) -> list[list[int]]:
    """Of each pair, what its annotators say: 1 the first, -1 the second, 0 a tie."""
    nets: defaultdict[frozenset[str], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    firsts: dict[frozenset[str], str] = {}
    for vote in group.votes:
        pair = frozenset((vote.a, vote.b))
        first = firsts.get(pair) or firsts.setdefault(pair, _first(group.key, vote))
        winner = vote.edge[0] if vote.edge else None
        nets[pair][vote.annotator] += (
            0 if winner is None else vote.weight if winner == first else -vote.weight
        )
    return [[(total > 0) - (total < 0) for total in by.values()] for by in nets.values()]


def _first(key: str, vote: Vote) -> str:
    return min((vote.a, vote.b), key=lambda name: tie_order(key, name))
