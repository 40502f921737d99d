"""N-response groups drawn from ranked groups, the best response equally often in each place."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoj_cli.groups import Group
from yoj_cli.verdicts.record import input_fields

PER_RESPONSE = ("names", "models", "labels")
"""Lists of a record with an entry for each response; a variant has those of its own responses."""

DROPPED = ("responses", "candidates", "rankings", "ratings", "chosen", "rejected", "support", "id")


@dataclass(slots=True)
class Sample:
    """The variants that were drawn, and why there are not more.

    Attributes:
        records: in the order of the groups.
        too_few: ids of groups with fewer than N different texts.
        no_best: ids of groups from which no N responses with a best one (a unique one, where asked for) can be drawn.
        n_short: groups that have some variants, but fewer than asked for.
        n_duplicates: responses left out because another one of their group has the same text.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    too_few: list[str] = field(default_factory=list)
    no_best: list[str] = field(default_factory=list)
    n_short: int = 0
    n_duplicates: int = 0


def sample_variants(
    groups: Iterable[Group], n: int, *, unique_best: bool = False, per_group: int = 1, seed: int = 0
) -> Sample:
    """Draw `per_group` different sets of N responses from each group, each set that fits equally likely.

    Which sets are drawn follows from the seed and the group's id alone. Over all variants, the place of the best
    response is balanced: each place equally often, or once more; the others are shuffled.

    Args:
        unique_best: only sets with one best response; otherwise any in which the ranking tells responses apart.
    """
    found = Sample()
    chosen: list[tuple[Group, list[int]]] = []
    for group in groups:
        distinct = _distinct(group)
        found.n_duplicates += len(group.responses) - len(distinct)
        if len(distinct) < n:
            found.too_few.append(group.id)
            continue
        sets = _draw(group, distinct, n, unique_best, per_group, random.Random(f"{seed}:{group.id}"))
        if not sets:
            found.no_best.append(group.id)
        found.n_short += 0 < len(sets) < per_group
        chosen.extend((group, indices) for indices in sets)
    places = _balanced_places(len(chosen), n, random.Random(f"{seed}:places"))
    numbers: dict[int, int] = {}
    for (group, indices), place in zip(chosen, places, strict=True):
        numbers[id(group)] = number = numbers.get(id(group), 0) + 1
        rng = random.Random(f"{seed}:{group.id}:{number}")
        found.records.append(_variant(group, _arrange(group, indices, place, rng), number))
    return found


def _distinct(group: Group) -> list[int]:
    """Indices of responses with different texts; of equal ones the best ranked."""
    ranks = group.rankings or ()
    first: dict[str, int] = {}
    for i in sorted(range(len(group.responses)), key=lambda i: ranks[i]):
        first.setdefault(group.responses[i], i)
    return sorted(first.values())


def _draw(
    group: Group, distinct: Sequence[int], n: int, unique_best: bool, k: int, rng: random.Random
) -> list[list[int]]:
    """Up to k different sets, each equally likely."""
    ranks = group.rankings or ()
    worse = {i: [j for j in distinct if ranks[j] > ranks[i]] for i in distinct}
    if unique_best:  # a set is its best response and n - 1 worse ones
        counts = [math.comb(len(worse[i]), n - 1) for i in distinct]
        n_sets = sum(counts)
    else:
        tied = [sum(ranks[j] == rank for j in distinct) for rank in {ranks[i] for i in distinct}]
        n_sets = math.comb(len(distinct), n) - sum(math.comb(size, n) for size in tied)
    seen: dict[tuple[int, ...], None] = {}
    while len(seen) < min(k, n_sets):
        if unique_best:
            best = rng.choices(distinct, counts)[0]
            drawn = [best, *rng.sample(worse[best], n - 1)]
        else:
            drawn = rng.sample(distinct, n)
        if unique_best or len({ranks[i] for i in drawn}) > 1:
            seen[tuple(sorted(drawn))] = None
    return [list(indices) for indices in seen]


def _balanced_places(n_variants: int, n: int, rng: random.Random) -> list[int]:
    """Blocks of all n places, each shuffled."""
    places: list[int] = []
    while len(places) < n_variants:
        places.extend(rng.sample(range(n), n))
    return places[:n_variants]


def _arrange(group: Group, indices: Sequence[int], place: int, rng: random.Random) -> list[int]:
    """The responses shuffled, with a best one at `place`."""
    ranks = group.rankings or ()
    best = min(indices, key=lambda i: ranks[i])
    others = [i for i in indices if i != best]
    rng.shuffle(others)
    others.insert(place, best)
    return others


def _variant(group: Group, indices: Sequence[int], number: int) -> dict[str, Any]:
    record, ranks, n_all = group.record, group.rankings or (), len(group.responses)
    fields = {key: value for key, value in input_fields(record).items() if key not in DROPPED}
    for key in PER_RESPONSE:
        if isinstance(fields.get(key), list) and len(fields[key]) == n_all:
            fields[key] = [fields[key][i] for i in indices]
    if "sampled_from" in fields:
        kept = fields.get("input_fields", {})
        fields["input_fields"] = {**kept, "sampled_from": fields.pop("sampled_from")}
    return {
        "id": f"{group.id}#{number}",
        **fields,
        "responses": [group.responses[i] for i in indices],
        "rankings": [1 + sum(ranks[j] < ranks[i] for j in indices) for i in indices],
        "sampled_from": {"id": group.id, "responses": list(indices), "of": n_all},
    }
