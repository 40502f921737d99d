"""What the order of the responses does: accuracy by the gold's place, and winners that flip under reversal."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.statistics import Z_POWER, smallest_difference
from yoj_cli.verdicts.intervals import Z_LEVEL, wilson


@dataclass(frozen=True, slots=True)
class Place:
    """Groups of N responses whose best one was read in this place.

    Attributes:
        place: 1 = read first.
        n: groups with their best response here.
        accuracy: share of them in which it won, with its Wilson interval.
        difference: accuracy here minus accuracy in all other places; NaN where one of the two has no groups.
        smallest: the smallest such difference that these numbers of groups show with 80 % power (5 % level); above 1
            where none could be shown.
        is_shown: the difference is larger than what chance does to these numbers of groups, at the 5 % level; never
            where fewer than 5 right or 5 wrong ones were to be expected here.
        share_won: share of all groups (wherever their best is) whose winner was read here; without a bias, and with
            bests in all places equally often, 1 / N.
    """

    place: int
    n: int
    accuracy: float
    low: float
    high: float
    difference: float
    smallest: float
    share_won: float
    is_shown: bool


@dataclass(frozen=True, slots=True)
class PositionTable:
    """Accuracy by place for groups of N responses that were read in one order and have one best response."""

    n_responses: int
    n_groups: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """Winners that changed with the order.

    Attributes:
        n: groups that were read in two orders or more.
        n_flipped: those whose orders do not all have the same winner.
        share, low, high: of them, with the Wilson interval.
        n_orders: how many orders that were; 2 is one order and its reverse.
    """

    n: int
    n_flipped: int
    share: float
    low: float
    high: float
    n_orders: int


def measure_positions(judged: Sequence[Judged]) -> tuple[PositionTable, ...]:
    """A table for each N, the N of most groups first; groups that say nothing of places are left out."""
    by_size: dict[int, list[Judged]] = defaultdict(list)
    for each in judged:
        if each.order is not None and each.n_orders == 1 and _is_single_best(each):
            by_size[len(each.scores)].append(each)
    tables = [_table(n, groups) for n, groups in by_size.items()]
    return tuple(sorted(tables, key=lambda table: (-table.n_groups, table.n_responses)))


def measure_flips(judged: Sequence[Judged]) -> Flips | None:
    """None where no group was read in a second order. Every scored group counts, with a gold ranking or without."""
    seen = [found for each in judged if (found := is_flipped(each)) is not None]
    if not seen:
        return None
    n, n_flipped = len(seen), sum(seen)
    n_orders = max(2, max(each.n_orders for each in judged))
    return Flips(n, n_flipped, n_flipped / n, *wilson(n_flipped, n), n_orders)


def is_flipped(each: Judged) -> bool | None:
    """Whether another order has another winner; None where only one was read."""
    if each.reversed_scores is not None:
        return winners(each.scores) != winners(each.reversed_scores)
    return each.order_agreement < 1 if each.order_agreement is not None else None


def winners(scores: Sequence[float]) -> set[int]:
    """Indices of the top-scored responses."""
    highest = max(scores)
    return {i for i, score in enumerate(scores) if score == highest}


def _is_single_best(each: Judged) -> bool:
    return each.is_gold and each.rankings is not None and each.rankings.count(min(each.rankings)) == 1


def _table(n_responses: int, judged: Sequence[Judged]) -> PositionTable:
    n_gold, n_hits, n_won = ([0.0] * n_responses for _ in range(3))
    for each in judged:
        assert each.order is not None
        assert each.rankings is not None
        place_of = {response: place for place, response in enumerate(each.order)}
        gold = each.rankings.index(min(each.rankings))
        won = winners(each.scores)
        n_gold[place_of[gold]] += 1
        n_hits[place_of[gold]] += (gold in won) / len(won)
        for response in won:
            n_won[place_of[response]] += 1 / len(won)
    all_hits, total = math.fsum(n_hits), len(judged)
    places = []
    for place in range(n_responses):
        n, n_elsewhere = int(n_gold[place]), total - int(n_gold[place])
        accuracy = n_hits[place] / n if n else math.nan
        elsewhere = (all_hits - n_hits[place]) / n_elsewhere if n_elsewhere else math.nan
        smallest = smallest_difference(all_hits / total, n, n_elsewhere)
        low, high = wilson(n_hits[place], n)
        is_enough = min(n, n_elsewhere) * min(all_hits, total - all_hits) >= 5 * total
        found = Place(
            place=place + 1,
            n=n,
            accuracy=accuracy,
            low=low,
            high=high,
            difference=accuracy - elsewhere,
            smallest=smallest,
            share_won=n_won[place] / total,
            is_shown=is_enough and abs(accuracy - elsewhere) > smallest * Z_LEVEL / (Z_LEVEL + Z_POWER),
        )
        places.append(found)
    return PositionTable(n_responses, total, tuple(places))
