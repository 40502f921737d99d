"""What a reader looks for in a group: was the judge right, how sure was it, would another order change its mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from yoj_cli.report.read import Line
from yoj_cli.verdicts.agreement import agreement

Outcome = Literal["right", "wrong", "tie", "unranked", "failed"]
"""Of one judge for one group; "tie": best and other responses share its highest score. "unranked": nobody said which
response is best, or all are equally good."""

LOW_MARGIN = 0.1
"""A judge whose P(best) of the first is less than this above the second's is called unsure."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One group of the page.

    Attributes:
        key: its id, unlike any other's of the page; the address of the page names it.
        lines: what each judge said, in the order of the files; None where a file does not hold the group.
    """

    key: str
    lines: tuple[Line | None, ...]

    @property
    def shown(self) -> Line:
        """The line that prompt, responses and media are taken from."""
        found = [line for line in self.lines if line is not None]
        return next((line for line in found if line.group is not None), found[0])


def build_entries(files: Sequence[Sequence[Line]]) -> list[Entry]:
    """The groups of one file, or of two joined by their ids, in the order of the first file."""
    keyed = [_by_key(lines) for lines in files]
    keys = dict.fromkeys(key for lines in keyed for key in lines)
    return [Entry(key, tuple(lines.get(key) for lines in keyed)) for key in keys]


def _by_key(lines: Sequence[Line]) -> dict[str, Line]:
    """Lines under their ids; where an id comes again, a number is added."""
    seen: Counter[str] = Counter()
    found: dict[str, Line] = {}
    for line in lines:
        seen[line.id] += 1
        key = line.id if seen[line.id] == 1 else f"{line.id}~{seen[line.id]}"
        while key in found:
            key += "~"
        found[key] = line
    return found


def outcome(line: Line) -> Outcome:
    """Whether the judge's best response is one that the given ranking calls best."""
    if line.error is not None or line.scores is None or line.group is None:
        return "failed"
    if line.group.rankings is None:
        return "unranked"
    best = agreement(line.scores, line.group.rankings).best
    if best is None:
        return "unranked"
    return "right" if best == 1 else "wrong" if best == 0 else "tie"


def margin(line: Line) -> float | None:
    """P(best) of the first above the second's; None where there is no second."""
    if line.p_best is None or len(line.p_best) < 2:
        return None
    first, second = sorted(line.p_best, reverse=True)[:2]
    return first - second


def regret(line: Line) -> float | None:
    """How sure the judge was of a wrong response: its P(best) above that of the best one; 0 where it was right."""
    if line.p_best is None or line.group is None or line.group.rankings is None:
        return None
    best = min(line.group.rankings)
    return max(line.p_best) - max(
        p for p, given in zip(line.p_best, line.group.rankings, strict=True) if given == best
    )


def is_shaky(line: Line) -> bool:
    """Whether the score of the first or second moved between orders by as much as they are apart."""
    if line.spread is None or line.scores is None or len(line.scores) < 2:
        return False
    (first, moved), (second, moved_too) = sorted(zip(line.scores, line.spread, strict=True), reverse=True)[:2]
    return max(moved, moved_too) >= first - second
