"""Which responses are read together, in which order, and how their scores become one per response.

A plan is a list of branches; a branch is an ordered tuple of response indices that one pass reads after the
shared prefix. For three responses:

    --mode multi      (0,1,2)                       the paper: one branch, the order given
    --mode single     (0) (1) (2)                   each judged alone
    --orders 3        (0,1,2) (1,2,0) (2,0,1)       order bias averaged out, and measured
    --window 2        (0,2) (1,0) (2,1) ...         many responses, a few at a time

A score compares only with the others of its branch: every branch has an unknown offset of its own. `join`
removes it by least squares, which for full orders is the plain mean of the centred branches.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Literal

from yoj_cli.errors import UsageError

Mode = Literal["multi", "single"]
Order = tuple[int, ...]

MODES: tuple[Mode, ...] = ("multi", "single")
DEFAULT_ROUNDS = 3
"""Rounds of windows when `orders` is left at 1. Two are enough to relate all responses, the third is worth
most: in a simulation (8 to 64 responses, windows of 4 and 8, noise 0.3 to 0.6 of the responses' deviation)
Kendall's tau with the truth rose by 0.05 from two to three rounds and by 0.03 from three to four."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The branches of one group.

    Attributes:
        mode: "multi" (branches are joined) or "single" (each branch is one response, nothing to join).
        n: number of responses N.
        branches: each an order of distinct response indices; together they read every response.
    """

    mode: Mode
    n: int
    branches: tuple[Order, ...]

    @property
    def n_orders(self) -> int:
        """How often every response is read, at least: in orders of the whole group, or in rounds of windows."""
        n_per_round = -(-self.n // len(self.branches[0]))
        return len(self.branches) // n_per_round


def check_plan_options(mode: str, orders: int, window: int | None) -> None:
    """Refuse options that contradict each other, before anything is loaded.

    Raises:
        UsageError: naming the option to drop or change.
    """
    if mode not in MODES:
        raise UsageError(f"unknown mode {mode!r}", where="--mode", hint=f"Use one of: {', '.join(MODES)}.")
    if orders < 1:
        raise UsageError(f"needs at least one order, got {orders}", where="--orders")
    if window is not None and window < 2:
        raise UsageError(
            f"a window holds at least 2 responses, got {window}",
            where="--window",
            hint="To judge each response alone use --mode single.",
        )
    if mode == "single" and orders > 1:
        raise UsageError(
            "single reads each response alone: orders cannot matter",
            where="--orders",
            hint="Drop --orders, or use --mode multi.",
        )
    if mode == "single" and window is not None:
        raise UsageError(
            "single reads each response alone: there is nothing to put in a window",
            where="--window",
            hint="Drop --window, or use --mode multi.",
        )


def build_plan(
    n: int, *, mode: Mode = "multi", orders: int = 1, window: int | None = None, seed: int = 0
) -> Plan:
    """The branches for a group of n responses; the same arguments always give the same plan.

    Args:
        n: number of responses, at least 1.
        mode: "single" reads each response in a branch of its own.
        orders: 1 is the order given and 2 is forward and reversed, whatever the seed; from 3 on rows of
            Williams designs (see `williams_design`), all distinct. A group with fewer than `orders` distinct
            orders (it has n!) gets each once. With a window that cuts the group: the number of rounds, each
            reading every response at least once; 1 stands for `DEFAULT_ROUNDS`, as one round leaves the
            windows unrelated.
        window: at most this many responses in a branch; groups of up to `window` responses are left whole.
        seed: where designs start (0: at the order given; else at a shuffle of it) and how windows are drawn.
    Raises:
        UsageError: from `check_plan_options`.
        ValueError: if n is not positive.
    """
    check_plan_options(mode, orders, window)
    if n < 1:
        raise ValueError(f"a group has at least one response, got {n}")
    if mode == "single":
        return Plan(mode, n, tuple((i,) for i in range(n)))
    if window is not None and n > window:
        return Plan(mode, n, _window_orders(n, window, orders if orders > 1 else DEFAULT_ROUNDS, seed))
    return Plan(mode, n, _full_orders(n, orders, seed))


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
def _full_orders(n: int, n_orders: int, seed: int) -> tuple[Order, ...]:
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


@lru_cache(maxsize=256)
def _window_orders(n: int, size: int, n_rounds: int, seed: int) -> tuple[Order, ...]:
    """Windows of exactly `size` of n > size responses; the windows of each round read every response.

    Guaranteed: the windows hang together, no response is read more than once more than another, and none
    stands in one place more than once more than in another.
    """
    random = Random(f"windows {seed} {n} {size}")
    n_reads = [0] * n
    windows: list[list[int]] = []
    for _ in range(n_rounds):
        by_need = sorted(range(n), key=lambda i: (n_reads[i], random.random()))
        twice = by_need[: -n % size]  # fills up the round's last window
        once = [i for i in range(n) if i not in set(twice)]
        random.shuffle(once)
        n_once_last = size - len(twice)
        rest = once[n_once_last:] + twice
        random.shuffle(rest)
        windows += [rest[k : k + size] for k in range(0, len(rest), size)]
        windows.append(once[:n_once_last] + twice)
        for i in (*range(n), *twice):
            n_reads[i] += 1
    _connect(windows, n, len(windows) // n_rounds)
    return _place(windows, n, size)


def _connect(windows: list[list[int]], n: int, n_per_round: int) -> None:
    """Swap responses between windows of one round, in place, until all windows hang together.

    Look at the graph that joins each window with its members. Every node has two edges or more (two rounds,
    two members), so every connected part has an edge on a cycle. Swapping that edge's response with one of
    another part, in the same round, joins the two parts and cuts nothing off: each swap leaves one part less.
    """
    while True:
        parent = list(range(n + len(windows)))

        def root(node: int, parent: list[int] = parent) -> int:
            while parent[node] != node:
                parent[node] = node = parent[parent[node]]
            return node

        on_cycle = []
        for b, window in enumerate(windows):
            for i in window:
                if root(i) == root(n + b):
                    on_cycle.append((b, i))
                parent[root(i)] = root(n + b)
        apart = next((i for i in range(n) if root(i) != root(0)), None)
        if apart is None:
            return
        here, i = next((b, i) for b, i in on_cycle if root(i) == root(0))
        start = here - here % n_per_round
        there = next(b for b in range(start, start + n_per_round) if apart in windows[b])
        windows[here][windows[here].index(i)] = apart
        windows[there][windows[there].index(apart)] = i


def _place(windows: Iterable[Sequence[int]], n: int, size: int) -> tuple[Order, ...]:
    """Order each window's members so that each response stands in each place equally often, one more at most.

    An edge colouring of the graph that joins each response with the windows that read it, the colours being
    the places (König 1916: it takes no more colours than the most edges at one node). A response read more
    than `size` times is split into several nodes of up to `size` edges.
    """
    n_reads, place_sum = [0] * n, [0.0] * n
    at_window: list[list[tuple[int, int] | None]] = []  # [window][place] -> response node
    at_node: dict[tuple[int, int], list[int | None]] = {}  # [response node][place] -> window
    for b, window in enumerate(windows):
        at_window.append([None] * size)
        for i in window:
            node = (i, n_reads[i] // size)
            taken = at_node.setdefault(node, [None] * size)
            free = [place for place in range(size) if taken[place] is None]
            free_both = [place for place in free if at_window[b][place] is None]
            place_sum[i] -= (size - 1) / 2  # from here on: how far from the middle in sum
            p = min(free_both or free, key=lambda place: abs(place_sum[i] + place))
            q = at_window[b].index(None)
            _exchange(at_window, at_node, b, p, q)
            at_window[b][p], taken[p] = node, b
            n_reads[i] += 1
            place_sum[i] += p
    return tuple(tuple(node[0] for node in row if node is not None) for row in at_window)


def _exchange(
    at_window: list[list[tuple[int, int] | None]],
    at_node: dict[tuple[int, int], list[int | None]],
    b: int,
    p: int,
    q: int,
) -> None:
    """Make place p of window b free: exchange places p and q along the chain that starts there."""
    chain = []
    window: int | None = b
    while window is not None and (node := at_window[window][p]) is not None:
        chain.append((window, node, p))
        window = at_node[node][q]
        if window is not None:
            chain.append((window, node, q))
    for window, node, place in chain:
        at_window[window][place] = at_node[node][place] = None
    for window, node, place in chain:
        at_window[window][p + q - place] = node
        at_node[node][p + q - place] = window


def join(
    plan: Plan, branch_scores: Sequence[Sequence[float]]
) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    """One score per response, and how far it moved between branches.

    Args:
        plan: the branches that were read.
        branch_scores: for each branch the scores in the branch's own order.
    Returns:
        scores: (N,). One branch or `single`: the raw scores, bit for bit. Else the x of the least squares
            x[i] + c[b] = s[b, i] with sum(x) = 0, rounded to float32 as the scores that went in.
        spread: (N,) standard deviation (population) of s[b, i] - c[b] over the branches that read response i;
            0.0 where one did. None for one branch or `single`.
    Raises:
        ValueError: if the scores do not fit the branches.
    """
    n_expected, n_given = [len(branch) for branch in plan.branches], [len(scores) for scores in branch_scores]
    if n_expected != n_given:
        raise ValueError(f"branches of {n_expected} responses, but scores for {n_given}")
    if plan.mode == "single" or len(plan.branches) == 1:
        raw: dict[int, float] = {}
        for branch, scores in _pairs(plan, branch_scores):
            raw.update(zip(branch, scores, strict=True))
        return tuple(raw[i] for i in range(plan.n)), None
    if all(len(branch) == plan.n for branch in plan.branches):
        x = [0.0] * plan.n
    else:
        x = _least_squares(plan, branch_scores)
    values: list[list[float]] = [[] for _ in range(plan.n)]
    for branch, scores in _pairs(plan, branch_scores):
        offset = math.fsum(s - x[i] for i, s in zip(branch, scores, strict=True)) / len(branch)
        for i, s in zip(branch, scores, strict=True):
            values[i].append(s - offset)
    # The normal equations say that x[i] is the mean of its values; for full orders that is how it is found.
    means = [math.fsum(column) / len(column) for column in values]
    spread = [
        math.sqrt(math.fsum((v - mean) ** 2 for v in column) / len(column))
        for column, mean in zip(values, means, strict=True)
    ]
    return _to_float32(means), _to_float32(spread)


def order_agreement(
    plan: Plan, branch_scores: Sequence[Sequence[float]], scores: Sequence[float]
) -> float | None:
    """The share of a group's orders whose own best response is the best one of the joined scores.

    An order counts 1 if the two are the same and 0 if not. Where several responses tie at the top, it counts by
    how much the two sets overlap: those in both over those in either.

    Args:
        branch_scores: for each branch the scores in the branch's own order.
        scores: (N,) from `join`.
    Returns:
        0.0 to 1.0, and 1.0 exactly where all orders have the same best. None where there are no two orders of the
        whole group to compare: one branch, `single`, or windows (a window has no say on what it does not read).
    """
    if len(plan.branches) == 1 or any(len(branch) < plan.n for branch in plan.branches):
        return None
    best = _best(range(plan.n), scores)
    overlaps = []
    for branch, values in _pairs(plan, branch_scores):
        own = _best(branch, values)
        overlaps.append(len(own & best) / len(own | best))
    return math.fsum(overlaps) / len(overlaps)


def _best(responses: Iterable[int], scores: Sequence[float]) -> set[int]:
    highest = max(scores)
    return {i for i, score in zip(responses, scores, strict=True) if score == highest}


def _pairs(plan: Plan, branch_scores: Sequence[Sequence[float]]) -> Iterable[tuple[Order, Sequence[float]]]:
    return zip(plan.branches, branch_scores, strict=True)


def _least_squares(plan: Plan, branch_scores: Sequence[Sequence[float]]) -> list[float]:
    """The x of `join` for windows: the normal equations with the offsets c eliminated.

    Subtracting each branch's mean leaves L x = r, where L is the Laplacian of the graph that joins responses
    read together (weight 1 / branch length). Windows hang together, so L is singular only along (1, ..., 1);
    adding 1/N everywhere removes that and picks the solution with sum(x) = 0.
    """
    import numpy as np

    left = np.full((plan.n, plan.n), 1.0 / plan.n)
    right = np.zeros(plan.n)
    for branch, scores in _pairs(plan, branch_scores):
        members = np.array(branch)
        values = np.array(scores, dtype=np.float64)
        left[np.ix_(members, members)] -= 1.0 / len(branch)
        left[members, members] += 1.0
        right[members] += values - values.mean()
    return [float(x) for x in np.linalg.solve(left, right)]


def _to_float32(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(struct.unpack("f", struct.pack("f", value))[0] for value in values)
