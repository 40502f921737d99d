"""Votes on one prompt as a graph of preferences: joined, netted, freed of cycles, ranked by what is reachable.

Source: arXiv 2410.12869 (preference graph ensemble and denoising); P. Eades, X. Lin, W. F. Smyth, A fast and effective
heuristic for the feedback arc set problem, Information Processing Letters 47 (1993), pages 319-323.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256

import networkx as nx

from yoj_cli.votes.vote import Vote

Weights = Mapping[tuple[str, str], float]
"""(winner, loser) -> weight of the votes that say so."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An edge that was removed because it closed a cycle.

    Attributes:
        weight: by how much more votes there were for `winner` than for `loser`.
        cycle: a shortest cycle that the edge closed, from `winner` over `loser` back to `winner`.
    """

    winner: str
    loser: str
    weight: float
    cycle: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preferences:
    """One group's graph.

    Attributes:
        names: (N,) of the responses.
        ranks: (N,) 1 = best, by the number of responses reachable; ties share the better rank.
        weights: of all votes, before netting.
        majorities: the netted edges, those cut among them.
        cuts: the edges removed.
        n_cyclic: strongly connected components of more than one response that the netted graph had.
    """

    names: tuple[str, ...]
    ranks: tuple[int, ...]
    weights: Weights
    majorities: Weights
    cuts: tuple[Cut, ...]
    n_cyclic: int

    @property
    def n_respected(self) -> int:
        """Net majorities whose winner has the better rank."""
        return n_respected(self.majorities, dict(zip(self.names, self.ranks, strict=True)))


def rank_by_graph(names: Sequence[str], votes: Iterable[Vote], *, key: str = "") -> Preferences:
    """The algorithm, start to end.

    Args:
        names: (N,) the responses, each of which the votes may name.
        key: of the group; see `tie_order`.
    """
    weights = join_votes(votes)  # 1. several annotators' graphs, their weights added
    majorities = net(weights)  # 2. the heavier direction of each pair
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_weighted_edges_from((winner, loser, weight) for (winner, loser), weight in majorities.items())
    cyclic = [part for part in nx.strongly_connected_components(graph) if len(part) > 1]
    cuts = [cut for part in sorted(cyclic, key=min) for cut in _backward_edges(graph, part, key)]  # 3.
    graph.remove_edges_from((cut.winner, cut.loser) for cut in cuts)
    ranks = _rank_by_reach(graph, names)  # 4.
    return Preferences(tuple(names), ranks, weights, majorities, tuple(cuts), len(cyclic))


def join_votes(votes: Iterable[Vote]) -> dict[tuple[str, str], float]:
    """(winner, loser) -> weight; a tie adds nothing."""
    weights: defaultdict[tuple[str, str], float] = defaultdict(float)
    for vote in votes:
        if vote.edge:
            weights[vote.edge] += vote.weight
    return dict(weights)


def net(weights: Weights) -> dict[tuple[str, str], float]:
    """Of each pair the heavier direction with the difference; none where both weigh the same."""
    found = {}
    for (winner, loser), weight in weights.items():
        against = weights.get((loser, winner), 0.0)
        if weight > against and not math.isclose(weight, against, rel_tol=1e-9):
            found[winner, loser] = weight - against
    return found


def n_respected(majorities: Weights, rank_of: Mapping[str, float]) -> int:
    """Net majorities whose winner is ranked above its loser."""
    return sum(rank_of[winner] < rank_of[loser] for winner, loser in majorities)


def has_cycle(votes: Iterable[Vote]) -> bool:
    """Whether votes, of one annotator say, contradict each other once netted."""
    followers: defaultdict[str, set[str]] = defaultdict(set)
    for winner, loser in net(join_votes(votes)):
        followers[loser].add(winner)
    try:
        TopologicalSorter(followers).prepare()
    except CycleError:
        return True
    return False


def tie_order(key: str, name: str) -> bytes:
    """Which of equal responses comes first: by a digest of group and name.

    A fixed rule is needed. By name alone, the same model would gain by it in every group.
    """
    return sha256(f"{key}\0{name}".encode("utf-8", "surrogatepass")).digest()


def eades_lin_smyth(graph: nx.DiGraph, key: str = "") -> list[str]:
    """An order of the nodes in which little weight points backwards.

    Sinks go to the tail, sources to the head, else the node with the largest out-weight less in-weight goes to the
    head; of equal ones the first by `tie_order`.
    """
    nodes = sorted(graph, key=lambda name: tie_order(key, name))
    outgoing = {node: {to: data["weight"] for to, data in graph[node].items()} for node in nodes}
    incoming: dict[str, dict[str, float]] = {node: {} for node in outgoing}
    for node, edges in outgoing.items():
        for to, weight in edges.items():
            incoming[to][node] = weight
    head: list[str] = []
    tail: list[str] = []

    def take(node: str) -> None:
        for to in outgoing.pop(node):
            del incoming[to][node]
        for come in incoming.pop(node):
            del outgoing[come][node]

    while outgoing:
        if sink := next((node for node in outgoing if not outgoing[node]), None):
            take(sink)
            tail.append(sink)
        elif source := next((node for node in outgoing if not incoming[node]), None):
            take(source)
            head.append(source)
        else:
            best = max(
                outgoing, key=lambda n: math.fsum(outgoing[n].values()) - math.fsum(incoming[n].values())
            )
            take(best)
            head.append(best)
    return head + tail[::-1]


def _backward_edges(graph: nx.DiGraph, part: set[str], key: str) -> list[Cut]:
    """The edges of a strongly connected component that point backwards in its order."""
    inner = graph.subgraph(part).copy()
    place = {node: at for at, node in enumerate(eades_lin_smyth(inner, key))}
    return [
        Cut(winner, loser, weight, (winner, *nx.shortest_path(inner, loser, winner)))
        for winner, loser, weight in inner.edges(data="weight")
        if place[winner] > place[loser]
    ]


def _rank_by_reach(graph: nx.DiGraph, names: Sequence[str]) -> tuple[int, ...]:
    reached: dict[str, set[str]] = {}
    for node in reversed(list(nx.topological_sort(graph))):
        reached[node] = set(graph[node]).union(*(reached[to] for to in graph[node]))
    counts = [len(reached[name]) for name in names]
    return tuple(1 + sum(other > count for other in counts) for count in counts)
