"""Windows: a few of many responses at a time, so chosen that the windows together compare all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from random import Random

from yoj_cli.plan.orders import Order


@lru_cache(maxsize=256)
def window_orders(n: int, size: int, n_rounds: int, seed: int) -> tuple[Order, ...]:
    """Windows of exactly `size` of n > size responses; the windows of each round read every response.

    Guaranteed: the windows are connected through the responses they share, no response is read more than once more
    than another, and none stands in one place more than once more than in another.
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
    """Swap responses between windows of one round, in place, until all windows are connected.

    In the graph that joins each window with its members, every node has two edges or more (two rounds, two
    members), so every connected component has an edge on a cycle. Swapping that edge's response with one of
    another component, in the same round, joins the two components and separates nothing: each swap leaves one
    component less.
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
