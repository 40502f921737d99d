"""Votes as text: what they come to, a ranking on one line, one group's graph, and the graph for Graphviz."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from yoj_cli.render.wording import counted, one_line, percent

if TYPE_CHECKING:  # the graph needs networkx, which samples do not
    from yoj_cli.votes.ranking import Figures, RankedGroup
    from yoj_cli.votes.sample import Sample

NAME_LENGTH = 40


def render_figures(figures: Figures) -> str:
    """What was voted, how far it is consistent, and how far two methods agree."""
    f = figures
    whose = f" by {counted(f.n_annotators, 'annotator')}" if f.n_annotators else ""
    pairs = f"{f.n_pairs:,} of {f.n_possible_pairs:,} pairs"
    lines = [
        f"{counted(f.n_groups, 'group')} · {counted(f.n_votes, 'vote')}{whose}, {counted(f.n_ties, 'tie')}"
        f" · {pairs} ({_share(f.n_pairs, f.n_possible_pairs)})",
    ]
    single = f"{f.n_single_cyclic:,} of {f.n_single_graphs:,} single annotators' graphs, "
    lines.append(
        f"cycles in {single if f.n_annotators else ''}{f.n_joined_cyclic:,} of {counted(f.n_groups, 'group')}"
        f"{' after joining' if f.n_annotators else ''} · {counted(f.n_cut, 'edge')} removed, weight {f.cut_weight:g}"
    )
    lines.append(
        f"{f.method}: {f.n_respected:,} of {f.n_majorities:,} net majorities respected"
        f" · {counted(f.n_unique_best, 'group')} with one best response, {f.n_tied:,} with ties"
    )
    if f.alpha is not None:
        a = f.alpha
        lines.append(
            f"Krippendorff's alpha {a.value:.2f} [{a.low:.2f}, {a.high:.2f}], {counted(a.n_pairs, 'pair')} with two or "
            "more annotators"
        )
    elif f.n_annotators > 1:
        lines.append("Krippendorff's alpha: no two annotators judged the same pair, or all said the same")
    if f.tau is not None and f.same_best is not None:
        lines.append(
            f"{f.method} and {f.compared}: tau-b {f.tau:.2f}, a best response in common in {percent(f.same_best)}"
            f" of {counted(f.n_compared, 'group')}"
        )
    return "\n".join(lines)


def render_ranking(ranked: RankedGroup) -> str:
    """The group, and its responses best first: "question 3: opt > bloom = llama"."""
    order = sorted(range(len(ranked.ranks)), key=ranked.ranks.__getitem__)
    text = _name(ranked.names[order[0]]) if order else ""
    for before, now in pairwise(order):
        sign = "=" if ranked.ranks[before] == ranked.ranks[now] else ">"
        text += f" {sign} {_name(ranked.names[now])}"
    return f"{_name(str(ranked.group.id))}: {text}"


def render_explanation(ranked: RankedGroup) -> str:
    """One group's graph: its ranking, each pair's votes, and what was cut and why."""
    graph, group = ranked.graph, ranked.group
    n, n_votes = len(ranked.names), len(group.votes)
    n_ties = sum(vote.winner == "tie" for vote in group.votes)
    lines = [
        f"group {_name(str(group.id))}: {one_line(str(group.fields.get('prompt', '')), 70)}".rstrip(": "),
        f"{counted(n, 'response')} · {counted(n_votes, 'vote')}, {counted(n_ties, 'tie')} · {group.n_pairs:,} of "
        f"{n * (n - 1) // 2:,} pairs",
        "",
        "rank  response",
    ]
    width = max((len(_name(name)) for name in ranked.names), default=0)
    order = sorted(range(n), key=lambda i: graph.ranks[i])
    lines += [f"{graph.ranks[i]:>4}  {_name(graph.names[i])}" for i in order]
    lines += ["", "edges (votes for, against)"]
    cut = {(each.winner, each.loser) for each in graph.cuts}
    place = {graph.names[i]: at for at, i in enumerate(order)}
    for winner, loser in sorted(graph.majorities, key=lambda edge: (place[edge[0]], place[edge[1]])):
        votes = f"{graph.weights[winner, loser]:g} : {graph.weights.get((loser, winner), 0):g}"
        note = "  cut" if (winner, loser) in cut else ""
        lines.append(f"  {_name(winner):{width}} > {_name(loser):{width}}  {votes}{note}")
    lines += _even_pairs(ranked)
    if graph.cuts:
        lines += [
            "",
            "cut, as the edge of least weight in the order of Eades, Lin and Smyth that closes a cycle",
        ]
        lines += [
            f"  {_name(each.winner)} > {_name(each.loser)} (net {each.weight:g}): {' > '.join(map(_name, each.cycle))}"
            for each in graph.cuts
        ]
    else:
        lines += ["", "no cycle, nothing cut"]
    return "\n".join(line.rstrip() for line in lines)


def render_dot(ranked: RankedGroup) -> str:
    """The graph in the DOT language; what was cut is red and dashed."""
    graph = ranked.graph
    cut = {(each.winner, each.loser) for each in graph.cuts}
    lines = ["digraph votes {", f"  label={_quoted(str(ranked.group.id))};", "  node [shape=box];"]
    lines += [
        f"  {_quoted(name)} [label={_quoted(f'{rank}. {name}')}];"
        for name, rank in zip(graph.names, graph.ranks, strict=True)
    ]
    for (winner, loser), weight in graph.majorities.items():
        style = ", color=red, style=dashed, constraint=false" if (winner, loser) in cut else ""
        lines.append(f"  {_quoted(winner)} -> {_quoted(loser)} [label={_quoted(f'{weight:g}')}{style}];")
    return "\n".join([*lines, "}"]) + "\n"


def render_sample(sample: Sample, n: int) -> str:
    """How many variants there are, and why there are not more."""
    facts = [f"{counted(len(sample.records), 'variant')} of {n} responses"]
    if sample.too_few:
        facts.append(f"{counted(len(sample.too_few), 'group')} with fewer than {n} different responses")
    if sample.no_best:
        facts.append(f"{counted(len(sample.no_best), 'group')} without {n} that have such a best one")
    if sample.n_short:
        facts.append(f"{counted(sample.n_short, 'group')} with fewer variants than asked for")
    if sample.n_duplicates:
        facts.append(f"{counted(sample.n_duplicates, 'response')} left out as duplicates")
    return " · ".join(facts)


def _even_pairs(ranked: RankedGroup) -> list[str]:
    """Pairs that were voted on and have no edge: as many votes for as against, or ties only."""
    graph = ranked.graph
    pairs = {tuple(sorted((vote.a, vote.b))): None for vote in ranked.group.votes}
    lines = []
    for a, b in sorted(pairs):
        if (a, b) not in graph.majorities and (b, a) not in graph.majorities:
            votes = f"{graph.weights.get((a, b), 0):g} : {graph.weights.get((b, a), 0):g}"
            lines.append(f"  {_name(a)} = {_name(b)}  {votes}, no edge")
    return lines


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "none"


def _name(name: str) -> str:
    return one_line(name, NAME_LENGTH)


def _quoted(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
