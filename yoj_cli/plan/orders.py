"""Orders of a whole group, balanced so that no response is favoured by its place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random

Order = tuple[int, ...]


def williams_design(first: Sequence[int]) -> tuple[Order, ...]:
    """Orders in which each item stands in each place, and directly before each other item, equally often.

    n rows for n even, 2n for n odd, starting with `first`. Rows are listed so that a part of them is balanced
    too: the first n rows put each item in n different places, and each row with an even index is followed by
    its reverse (n even) or by the nearest thing to it (n odd; the true reverses are the last n rows), so that
    an even number of rows evens out the mean place. Designs from two first rows share all rows or none.

    Source: E. J. Williams, Australian Journal of Scientific Research A 2 (1949), pages 149-168.
    """
    n = len(first)
    zigzag = [(k + 1) // 2 if k % 2 else -(k // 2) % n for k in range(n)]  # 0, 1, n-1, 2, n-2, ...
    item = dict(zip(zigzag, first, strict=True))
    half = n // 2
    shifts = [shift for i in range(half) for shift in (i, i + half)] + [n - 1] * (n % 2)
    square = [tuple(item[(z + shift) % n] for z in zigzag) for shift in shifts]
    reverses = [row[::-1] for row in square] if n % 2 else []
    return tuple(dict.fromkeys([*square, *reverses]))


@lru_cache(maxsize=256)
def full_orders(n: int, n_orders: int, seed: int) -> tuple[Order, ...]:
    """Distinct orders of n responses, from as many Williams designs as it takes; see `build_plan`."""
    given = tuple(range(n))
    if n_orders <= 2:
        return tuple(dict.fromkeys([given, given[::-1]][:n_orders]))
    n_orders = min(n_orders, math.factorial(n))
    random = Random(f"orders {seed} {n}")
    first = list(given)
    if seed != 0:
        random.shuffle(first)
    rows: dict[Order, None] = {}
    while len(rows) < n_orders:
        if tuple(first) not in rows:
            rows.update(dict.fromkeys(williams_design(first)))
        random.shuffle(first)
    return tuple(rows)[:n_orders]
