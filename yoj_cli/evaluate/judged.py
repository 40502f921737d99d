"""One judged group with its gold ranking, from a verdict or from a line that `yoj score` or `yoj eval` wrote."""

from __future__ import annotations

import hashlib
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError
from yoj_cli.groups import Failure, Group, Media
from yoj_cli.records.parse import read_groups
from yoj_cli.records.turns import is_number
from yoj_cli.verdicts.verdict import Verdict, p_best


@dataclass(frozen=True, slots=True)
class Judged:
    """A group that was judged, or that failed. Responses are numbered as in the input, whatever order was read.

    Attributes:
        id: as the group's.
        where: "verdicts.jsonl:17".
        scores: (N,) higher is better; () where the group failed.
        rankings: (N,) gold, 1 = best, ties allowed; None where the line has none.
        p_best: (N,) the judge's probability that each response is the best one.
        spread: (N,) standard deviation over orders; None where there was one order.
        order_agreement: see `Verdict`.
        order: (N,) the order in which the responses were read: `order[0]` came first. None where it is unknown, or
            has no meaning (`single`, windows); of several orders it is the first.
        n_orders: orders that the scores are a mean of.
        reversed_scores: (N,) of a second reading, in the reverse of `order`; None where there was none.
        lengths: (N,) characters of each response.
        category: the line's "category"; "" where it has none.
        cluster: what tells prompts apart: groups of one cluster are not independent. The line's "cluster", else a
            digest of its texts (see `normalise`) and media.
        preferences: pairs (better, worse) of responses where the gold is a graph that `rankings` does not say whole;
            the line's "preferences".
        seconds: time spent on the group; None where it was not kept.
        record: the whole line.
        error: {"type", "message"} of a group that failed.
        group: the group itself, its media resolved; None where the line of a failed group cannot be read as one.
    """

    id: str
    where: str
    scores: tuple[float, ...]
    rankings: tuple[float, ...] | None
    p_best: tuple[float, ...]
    lengths: tuple[int, ...] = ()
    spread: tuple[float, ...] | None = None
    order_agreement: float | None = None
    order: tuple[int, ...] | None = None
    n_orders: int = 1
    reversed_scores: tuple[float, ...] | None = None
    category: str = ""
    cluster: str = ""
    preferences: tuple[tuple[int, int], ...] | None = None
    seconds: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)
    error: Mapping[str, str] | None = None
    group: Group | None = field(default=None, repr=False)

    @property
    def is_gold(self) -> bool:
        """It was scored, and its ranking tells at least two responses apart: figures are about these."""
        return bool(self.scores) and len(set(self.rankings or ())) > 1


def read_judged(
    paths: Sequence[str | os.PathLike[str]],
    *,
    folder: str | os.PathLike[str] | None = None,
    media_root: str | os.PathLike[str] | None = None,
    limits: Limits = LIMITS,
) -> Iterator[Judged]:
    """Read lines that `yoj score` or `yoj eval --save` wrote, one at a time.

    Args:
        folder: where relative media paths start; by default the folder of each file.
        media_root: where they start instead, and what they may not leave.
        limits: of lines and groups.
    Raises:
        InputError: a file cannot be read, or a line has neither scores nor an error, or scores that do not fit it.
    """
    for item in chain.from_iterable(
        read_groups(os.fspath(path), folder=folder, media_root=media_root, limits=limits) for path in paths
    ):
        yield _of_failed(item) if item.record.get("error") else _of_line(item)


def of_verdict(
    verdict: Verdict,
    *,
    order: Sequence[int] | None = None,
    reversed_scores: Sequence[float] | None = None,
    where: str = "",
    record: Mapping[str, Any] | None = None,
) -> Judged:
    """A verdict on a group, its responses numbered as in the input.

    Args:
        order, reversed_scores: see `Judged`.
        record: the output line, where one was written.
    """
    group = verdict.group
    return Judged(
        id=group.id,
        where=where or group.where,
        scores=verdict.scores,
        rankings=group.rankings,
        p_best=verdict.p_best,
        lengths=tuple(len(response) for response in group.responses),
        spread=verdict.spread,
        order_agreement=verdict.order_agreement,
        order=None if order is None else tuple(order),
        n_orders=verdict.n_orders,
        reversed_scores=None if reversed_scores is None else tuple(reversed_scores),
        category=_category(group.record),
        cluster=cluster_of(group),
        preferences=_preferences(group.record, len(group.responses), group.where),
        seconds=verdict.seconds,
        record=group.record if record is None else record,
        group=group,
    )


def of_failure(failure: Failure) -> Judged:
    """A group that gave no verdict."""
    error = {"type": type(failure.error).__name__, "message": str(failure.error)}
    return _failed(failure, error)


def normalise(text: str) -> str:
    """A text for comparison: compatibility forms unified, case folded, white space runs as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def cluster_of(group: Group) -> str:
    """The line's "cluster", else a digest of the conversation's texts and media."""
    stated = group.record.get("cluster")
    if isinstance(stated, (str, int)) and not isinstance(stated, bool):
        return str(stated)
    digest = hashlib.sha256()
    for turn in group.messages:
        for block in turn.blocks:
            texts = [normalise(block)] if isinstance(block, str) else _names(block)
            for text in texts:
                digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _names(media: Media) -> list[str]:
    return [f"\0{each.path or each.source}" for each in media.frames or (media,)]


def _of_line(item: Group | Failure) -> Judged:
    if isinstance(item, Failure):
        raise item.error
    record, n = item.record, len(item.responses)
    if "scores" not in record:
        raise InputError(
            "the line has no 'scores'",
            where=item.where,
            hint="Verdicts are what `yoj score` and `yoj eval --save` write.",
        )
    scores = numbers_of(record, "scores", n, item.where)
    judge = record.get("judge")
    judge = judge if isinstance(judge, Mapping) else {}
    return Judged(
        id=item.id,
        where=item.where,
        scores=scores,
        rankings=item.rankings,
        p_best=_optional(record, "p_best", n, item.where, high=1.0) or p_best(scores),
        lengths=tuple(len(response) for response in item.responses),
        spread=_optional(record, "spread", n, item.where, high=math.inf),
        order_agreement=_number(record, "order_agreement"),
        order=_order_of(judge, n, item.where),
        n_orders=judge["orders"] if isinstance(judge.get("orders"), int) else 1,
        reversed_scores=_optional(judge, "reversed_scores", n, item.where),
        category=_category(record),
        cluster=cluster_of(item),
        preferences=_preferences(record, n, item.where),
        seconds=_number(judge, "seconds"),
        record=record,
        group=item,
    )


def _of_failed(item: Group | Failure) -> Judged:
    error = item.record["error"]
    if not isinstance(error, Mapping):
        error = {"type": "", "message": str(error)}
    return _failed(item, {key: str(error.get(key, "")) for key in ("type", "message")})


def _failed(item: Group | Failure, error: Mapping[str, str]) -> Judged:
    group = item if isinstance(item, Group) else None
    return Judged(
        id=item.id,
        where=item.where,
        scores=(),
        rankings=group.rankings if group else None,
        p_best=(),
        lengths=tuple(len(response) for response in group.responses) if group else (),
        category=_category(item.record),
        cluster=cluster_of(group) if group else "",
        record=item.record,
        error=error,
        group=group,
    )


def numbers_of(record: Mapping[str, Any], key: str, n: int, where: str) -> tuple[float, ...]:
    """A list of n finite numbers.

    Raises:
        InputError: it is anything else.
    """
    raw = record[key]
    if not isinstance(raw, list) or not all(is_number(value) for value in raw):
        raise InputError(f"{key!r} must be a list of numbers", where=where)
    if len(raw) != n:
        raise InputError(f"{key!r} has {len(raw)} entries for {n} response{'s' * (n != 1)}", where=where)
    return tuple(float(value) for value in raw)


def _optional(
    record: Mapping[str, Any], key: str, n: int, where: str, *, high: float | None = None
) -> tuple[float, ...] | None:
    """`numbers_of`, or None where there are none; with `high`, none is above that or below 0."""
    if record.get(key) is None:
        return None
    found = numbers_of(record, key, n, where)
    if high is not None and not all(0 <= value <= high for value in found):
        raise InputError(f"{key!r} must be numbers from 0 to {high:g}", where=where)
    return found


def _number(record: Mapping[str, Any], key: str) -> float | None:
    found: Any = record.get(key)
    return float(found) if is_number(found) else None


def _order_of(judge: Mapping[str, Any], n: int, where: str) -> tuple[int, ...] | None:
    """As `yoj eval` wrote it; without it, the responses were read as the line has them (`yoj score`)."""
    if judge.get("mode") in ("single", "given") or judge.get("window") is not None:
        return None
    raw = judge.get("order")
    if raw is None:
        return tuple(range(n)) if judge else None
    if not isinstance(raw, list) or {type(i) for i in raw} != {int} or sorted(raw) != list(range(n)):
        raise InputError(f"judge's 'order' is no order of {n} responses", where=where)
    return tuple(raw)


def _category(record: Mapping[str, Any]) -> str:
    found = record.get("category")
    return "" if found is None else str(found)


def _preferences(record: Mapping[str, Any], n: int, where: str) -> tuple[tuple[int, int], ...] | None:
    raw = record.get("preferences")
    if not isinstance(raw, list) or not raw or not all(isinstance(pair, list) for pair in raw):
        return None  # anybody may have such a field
    pairs = [tuple(pair) for pair in raw]
    if any(len(pair) != 2 or not set(pair) <= set(range(n)) for pair in pairs):
        raise InputError(
            f"'preferences' must be pairs of indices of {n} responses, the better one first", where=where
        )
    return tuple((int(better), int(worse)) for better, worse in pairs)
