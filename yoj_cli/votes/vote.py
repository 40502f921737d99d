"""What a vote is, and what all votes on one prompt are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's judgment of two responses.

    Attributes:
        a, b: their names, two different ones.
        annotator: "" where the votes do not say whose they are.
        weight: how much it counts, above 0.
    """

    a: str
    b: str
    winner: Winner
    annotator: str = ""
    weight: float = 1.0

    @property
    def edge(self) -> tuple[str, str] | None:
        """(winner, loser); None of a tie."""
        if self.winner == "tie":
            return None
        return (self.a, self.b) if self.winner == "a" else (self.b, self.a)


@dataclass(slots=True)
class VotedGroup:
    """All votes on one prompt.

    Attributes:
        key: what the votes call it: their group, else the prompt itself.
        id: the group as the votes name it; None where they give the prompt alone.
        votes: in the order of the files.
        texts: response by name, as far as a text is known.
        fields: what else the training format needs and the input had: prompt, messages, image …
        where: of its first vote.
    """

    key: str
    id: str | None = None
    votes: list[Vote] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def names(self) -> list[str]:
        """The responses that were voted on: in the order of the texts, else of the votes."""
        voted = dict.fromkeys(name for vote in self.votes for name in (vote.a, vote.b))
        known = [name for name in self.texts if name in voted]
        return known + [name for name in voted if name not in self.texts]

    @property
    def n_pairs(self) -> int:
        """Pairs that at least one vote is about."""
        return len({(min(vote.a, vote.b), max(vote.a, vote.b)) for vote in self.votes})


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of the input adds to its group.

    Attributes:
        key, id, fields: see `VotedGroup`.
    """

    key: str
    id: str | None
    votes: Sequence[Vote] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
