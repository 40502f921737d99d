"""Voted groups to rankings, each with the support it has, and what all of them come to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yoj_cli.config.votes import Method
from yoj_cli.errors import InputError, first_few
from yoj_cli.verdicts.agreement import agreement
from yoj_cli.votes.graph import Preferences, has_cycle, n_respected, rank_by_graph
from yoj_cli.votes.methods import rank_by
from yoj_cli.votes.reliability import Alpha, measure_agreement
from yoj_cli.votes.vote import Vote, VotedGroup


@dataclass(frozen=True, slots=True)
class RankedGroup:
    """A group with its ranking.

    Attributes:
        names, ranks: (N,) the responses that were voted on, 1 = best, ties share the better rank.
        graph: its preference graph, whatever the method.
        n_annotators: whose votes they are; n_cyclic of them contradict themselves.
        n_pairs: of two responses, that at least one vote is about.
    """

    group: VotedGroup
    names: tuple[str, ...]
    ranks: tuple[int, ...]
    method: Method
    graph: Preferences
    n_annotators: int
    n_cyclic: int
    n_pairs: int

    @property
    def n_respected(self) -> int:
        """Net majorities whose winner has the better rank."""
        return n_respected(self.graph.majorities, dict(zip(self.names, self.ranks, strict=True)))

    def to_record(self, *, with_texts: bool = True) -> dict[str, Any]:
        """A line of the training format, and under "support" how well it is founded.

        Raises:
            InputError: the text of a response, or the prompt, is not known.
        """
        group, n = self.group, len(self.names)
        record: dict[str, Any] = {"id": group.id, **group.fields}
        if with_texts:
            record["responses"] = self._texts()
        record |= {"rankings": list(self.ranks), "names": list(self.names)}
        support = {
            "method": self.method,
            "votes": len(group.votes),
            "annotators": self.n_annotators,
            "ties": sum(vote.winner == "tie" for vote in group.votes),
            "pairs": self.n_pairs,
            "of_pairs": n * (n - 1) // 2,
            "majorities": len(self.graph.majorities),
            "respected": self.n_respected,
            "cut": [[cut.winner, cut.loser, cut.weight] for cut in self.graph.cuts],
        }
        if "support" in group.fields:
            record["input_fields"] = {"support": group.fields["support"]}
        return record | {"support": support}

    def _texts(self) -> list[str]:
        group = self.group
        missing = [repr(name[:40]) for name in self.names if name not in group.texts]
        if not missing and "prompt" not in group.fields and "messages" not in group.fields:
            missing = ["the prompt"]
        if missing:
            raise InputError(
                f"group {str(group.id)[:60]!r} lacks the text of {first_few(missing)}",
                where=group.where,
                hint="--texts FILE gives texts, as do columns a_text, b_text and prompt; --no-texts leaves them away.",
            )
        return [group.texts[name] for name in self.names]


def rank_group(group: VotedGroup, method: Method = "graph") -> RankedGroup:
    """Rank one group's responses.

    Raises:
        InputError: the method cannot rank them.
    """
    names = tuple(group.names)
    graph = rank_by_graph(names, group.votes, key=group.key)
    ranks = graph.ranks if method == "graph" else rank_by(method, names, group.votes)
    by: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in group.votes:
        by[vote.annotator].append(vote)
    n_cyclic = sum(map(has_cycle, by.values()))
    return RankedGroup(group, names, ranks, method, graph, len(by), n_cyclic, group.n_pairs)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a set of votes comes to.

    Attributes:
        n_pairs, n_possible_pairs: of two responses to one prompt, voted on, and all.
        n_annotators: over all groups; 0 where the votes do not say.
        n_single_graphs, n_single_cyclic: of one annotator and one group; those that contradict themselves.
        n_joined_cyclic: groups whose joined and netted votes have a cycle.
        n_cut, cut_weight: edges removed, and by how many votes they had been ahead, together.
        n_majorities, n_respected: netted pairs; those that the ranking follows.
        n_tied: groups in which responses share a rank; n_unique_best have one best response.
        alpha: None where no two annotators judged the same pair.
        method, compared: the two methods that are compared.
        tau: mean tau-b between their rankings, over groups that both order at all.
        same_best: share of these groups in which they have a best response in common.
    """

    n_groups: int
    n_votes: int
    n_ties: int
    n_annotators: int
    n_pairs: int
    n_possible_pairs: int
    n_single_graphs: int
    n_single_cyclic: int
    n_joined_cyclic: int
    n_cut: int
    cut_weight: float
    n_majorities: int
    n_respected: int
    n_tied: int
    n_unique_best: int
    alpha: Alpha | None
    method: Method
    compared: Method
    n_compared: int
    tau: float | None
    same_best: float | None


def figures_of(ranked: Sequence[RankedGroup], method: Method, compared: Method) -> Figures:
    """Count, measure the annotators' agreement, and compare with another method."""
    names = {vote.annotator for each in ranked for vote in each.group.votes} - {""}
    taus, same = _compare(ranked, compared)
    return Figures(
        n_groups=len(ranked),
        n_votes=sum(len(each.group.votes) for each in ranked),
        n_ties=sum(vote.winner == "tie" for each in ranked for vote in each.group.votes),
        n_annotators=len(names),
        n_pairs=sum(each.n_pairs for each in ranked),
        n_possible_pairs=sum(math.comb(len(each.names), 2) for each in ranked),
        n_single_graphs=sum(each.n_annotators for each in ranked),
        n_single_cyclic=sum(each.n_cyclic for each in ranked),
        n_joined_cyclic=sum(each.graph.n_cyclic > 0 for each in ranked),
        n_cut=sum(len(each.graph.cuts) for each in ranked),
        cut_weight=sum(cut.weight for each in ranked for cut in each.graph.cuts),
        n_majorities=sum(len(each.graph.majorities) for each in ranked),
        n_respected=sum(each.n_respected for each in ranked),
        n_tied=sum(len(set(each.ranks)) < len(each.ranks) for each in ranked),
        n_unique_best=sum(each.ranks.count(1) == 1 for each in ranked),
        alpha=measure_agreement(each.group for each in ranked),
        method=method,
        compared=compared,
        n_compared=len(taus),
        tau=sum(taus) / len(taus) if taus else None,
        same_best=sum(same) / len(same) if same else None,
    )


def _compare(ranked: Sequence[RankedGroup], compared: Method) -> tuple[list[float], list[bool]]:
    """Of each group that both methods order: tau-b, and whether they have a best response in common."""
    taus, same = [], []
    for each in ranked:
        if each.method == compared:
            continue
        other = rank_by(compared, each.names, each.group.votes, key=each.group.key)
        tau = agreement([-rank for rank in each.ranks], other).tau
        if tau is not None and len(set(each.ranks)) > 1:
            taus.append(tau)
            same.append(any(mine == 1 == theirs for mine, theirs in zip(each.ranks, other, strict=True)))
    return taus, same
