"""The rows of one prompt, from a batch to a group that a judge reads, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from yoj_cli.config.rewards import RewardConfig
from yoj_cli.errors import YojError
from yoj_cli.groups import Group
from yoj_cli.rewards.grouping import shuffled
from yoj_cli.rewards.judging import Judged
from yoj_cli.rewards.rows import Row
from yoj_cli.rewards.shaping import shape


@dataclass
class Chunk:
    """The rows of one prompt, on their way.

    Attributes:
        at: where they are in the batch.
        rows: themselves.
        group: the different texts of those that are read, in the order of reading; None where there are none.
        place: of each row's text in the group; None for a row that is not read.
        is_penalized: whether a row gets the penalty.
        problems: why a row has no score, by its place in the chunk.
        judged: what the judge said; None before.
    """

    at: Sequence[int]
    rows: list[Row]
    group: Group | None = None
    place: list[int | None] = field(default_factory=list)
    is_penalized: list[bool] = field(default_factory=list)
    problems: dict[int, YojError] = field(default_factory=dict)
    judged: Judged | None = None

    @property
    def scores(self) -> list[float | None]:
        """The judge's score of each row, None without one."""
        if self.group is None or self.judged is None or self.judged.verdict is None:
            return [None] * len(self.rows)
        left_out = self.judged.left_out
        kept = [place for place in range(len(self.group.responses)) if place not in left_out]
        by_place = dict(zip(kept, self.judged.verdict.scores, strict=True))
        return [None if place is None else by_place.get(place) for place in self.place]

    @property
    def lengths(self) -> list[int]:
        """Characters of each row; 0 for what is no text."""
        return [len(row.text) if isinstance(row.text, str) else 0 for row in self.rows]

    def rewards(self, config: RewardConfig) -> list[float | None]:
        """The reward of each row, None without one."""
        verdict = self.judged.verdict if self.judged else None
        return shape(
            self.scores,
            self.lengths,
            self.is_penalized,
            normalize=config.normalize,
            temperature=verdict.temperature if verdict else 1.0,
            length_penalty=config.length_penalty,
            penalty=config.penalty,
        )

    def reasons(self) -> dict[tuple[str, bool], list[int]]:
        """The rows of the batch without a score, by the reason and whether they get a penalty."""
        found: dict[tuple[str, bool], list[int]] = {}
        for i, error in self.problems.items():
            found.setdefault((str(error).replace("\n", "; "), self.is_penalized[i]), []).append(self.at[i])
        return found


def build_chunk(rows: Sequence[Row], at: Sequence[int], step: int, config: RewardConfig) -> Chunk:
    """Take the rows of one prompt, and decide which are read, and in which order.

    Identical completions are read once, and get one score.

    Args:
        rows: of the batch.
        at: those of this prompt.
        step: of the training; with the prompt and the seed it gives the order.
    """
    n = len(at)
    chunk = Chunk(at, [rows[i] for i in at], place=[None] * n, is_penalized=[False] * n)
    read: dict[int, str] = {}
    for i, row in enumerate(chunk.rows):
        if isinstance(row.prompt, YojError):
            chunk.problems[i] = row.prompt
        elif isinstance(row.text, YojError):
            chunk.problems[i] = row.text
        elif (policy := _policy(row, row.text, config)) == "score":
            read[i] = row.text
        else:
            chunk.is_penalized[i] = policy == "penalty"
    if not read:
        return chunk
    first = chunk.rows[next(iter(read))]
    assert isinstance(first.prompt, Group)
    texts = list(dict.fromkeys(read.values()))
    order = shuffled(len(texts), config.seed, first.key, step, shuffle=config.shuffle)
    ordered = tuple(texts[place] for place in order)
    chunk.group = Group(first.prompt.id, first.prompt.messages, ordered, where=first.prompt.where)
    for i, text in read.items():
        chunk.place[i] = ordered.index(text)
    return chunk


def _policy(row: Row, text: str, config: RewardConfig) -> str:
    """What is done with a completion: score, penalty or none."""
    if not text.strip() and config.on_empty != "score":
        return config.on_empty
    limit = config.max_completion_length
    is_truncated = limit is not None and row.n_tokens is not None and row.n_tokens >= limit
    return config.on_truncated if is_truncated else "score"
