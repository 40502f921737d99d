"""What a reader looks for in a group: was the judge right, how sure was it, would another order change its mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from yoj_cli.evaluate.compare import identity_of
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.metrics import agreement_of
from yoj_cli.evaluate.positions import winners

Outcome = Literal["right", "wrong", "tie", "unranked", "failed"]
"""Of one judge for one group; "tie": best and other responses share its highest score. "unranked": nobody said which
response is best, or all are equally good."""

LOW_MARGIN = 0.1
"""A judge whose P(best) of the first is less than this above the second's is called unsure."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One group of the page.

    Attributes:
        key: its id, unlike any other's of the page; the address of the page names it, and so holds no half character.
        judged: what each file says of it; None where a file does not hold the group.
    """

    key: str
    judged: tuple[Judged | None, ...]

    @property
    def shown(self) -> Judged:
        """What prompt, responses and media are taken from."""
        found = [each for each in self.judged if each is not None]
        return next((each for each in found if each.group is not None), found[0])


def build_entries(files: Sequence[Sequence[Judged]]) -> list[Entry]:
    """The groups of one file, or of two: the same id, prompt and responses are one group."""
    rows: dict[tuple[str, int], list[Judged | None]] = {}
    for number, file in enumerate(files):
        seen: Counter[str] = Counter()
        for each in file:
            identity = identity_of(each)
            row = rows.setdefault((identity, seen[identity]), [None] * len(files))
            row[number] = each
            seen[identity] += 1
    entries: dict[str, Entry] = {}
    n_of: Counter[str] = Counter()
    for row in rows.values():
        name = next(each.id for each in row if each is not None).encode("utf-8", "replace").decode("utf-8")
        n_of[name] += 1
        key = name if n_of[name] == 1 else f"{name}~{n_of[name]}"
        while key in entries:
            key += "~"
        entries[key] = Entry(key, tuple(row))
    return list(entries.values())


OF_ONE_GROUP = ("orders", "order", "reversed_scores", "seconds")
"""What a line's "judge" says of its group alone."""


def facts_of(each: Judged) -> dict[str, Any]:
    """What scored it and how, as the line says; {} where it does not."""
    judge = each.record.get("judge")
    if not isinstance(judge, Mapping):
        return {}
    return {key: value for key, value in judge.items() if key not in OF_ONE_GROUP}


def outcome(each: Judged) -> Outcome:
    """Whether the judge's best response is one that the given ranking calls best."""
    if not each.scores:
        return "failed"
    if not each.is_gold:
        return "unranked"
    best = agreement_of(each.scores, each.rankings or ()).best
    return "right" if best == 1 else "tie" if best else "wrong"


def best_of(each: Judged) -> tuple[int, ...]:
    """Indices of the judge's best responses, several where they tie."""
    return tuple(sorted(winners(each.scores))) if each.scores else ()


def margin(each: Judged) -> float | None:
    """P(best) of the first above the second's; None where there is no second."""
    if len(each.p_best) < 2:
        return None
    first, second = sorted(each.p_best, reverse=True)[:2]
    return first - second


def regret(each: Judged) -> float | None:
    """How sure the judge was of a wrong response: its P(best) above that of the given best; 0 where it was right."""
    if not each.is_gold or each.rankings is None:
        return None
    best = min(each.rankings)
    return max(each.p_best) - max(
        p for p, rank in zip(each.p_best, each.rankings, strict=True) if rank == best
    )


def is_shaky(each: Judged) -> bool:
    """Whether the score of the first or second moved between orders by as much as they are apart."""
    if each.spread is None or len(each.scores) < 2:
        return False
    (first, moved), (second, moved_too) = sorted(zip(each.scores, each.spread, strict=True), reverse=True)[:2]
    return max(moved, moved_too) >= first - second
