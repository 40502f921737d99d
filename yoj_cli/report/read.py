"""Verdict lines, as `yoj score` writes them, back into groups and what a judge said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError, YojError
from yoj_cli.groups import Failure, Group
from yoj_cli.records.parse import read_groups
from yoj_cli.records.turns import is_number


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a verdict file.

    Attributes:
        id: the group's; the line number where it has none.
        group: None where the input line gave no group, which `error` then says.
        scores, ranks, p_best, spread: (N,) as the judge gave them; all None where it failed.
        order_agreement: see `Verdict`.
        judge: what scored it and how.
        error: type and message of a group that failed, else None.
    """

    id: str
    where: str
    record: Mapping[str, Any]
    group: Group | None
    scores: tuple[float, ...] | None = None
    ranks: tuple[int, ...] | None = None
    p_best: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    order_agreement: float | None = None
    judge: Mapping[str, Any] | None = None
    error: tuple[str, str] | None = None


def read_lines(path: str, *, media_root: Path | None) -> list[Line]:
    """All lines of one verdict file.

    Raises:
        InputError: a line holds neither a verdict nor an error, or the file holds no line.
    """
    lines = [_read(item) for item in read_groups(path, media_root=media_root)]
    if not lines:
        raise InputError("the file is empty", where=path, hint="Write it with `yoj score … -o FILE`.")
    return lines


def _read(item: Group | Failure) -> Line:
    record = item.record
    group = item if isinstance(item, Group) else None
    said = record.get("error")
    if isinstance(said, Mapping) and set(said) == {"type", "message"}:
        error = (str(said["type"]), str(said["message"]))
        return Line(item.id, item.where, record, group, error=error)
    if isinstance(item, Failure):
        raise item.error
    n = len(item.responses)
    try:
        spread, agreeing = record.get("spread"), record.get("order_agreement")
        return Line(
            item.id,
            item.where,
            record,
            item,
            scores=_numbers(record.get("scores"), n, "scores"),
            ranks=tuple(int(rank) for rank in _numbers(record.get("ranks"), n, "ranks")),
            p_best=_numbers(record.get("p_best"), n, "p_best"),
            spread=None if spread is None else _numbers(spread, n, "spread"),
            order_agreement=None if agreeing is None else float(agreeing),
            judge=record["judge"] if isinstance(record.get("judge"), Mapping) else None,
        )
    except YojError as error:
        raise error.at(item.where) from None


def _numbers(raw: Any, n: int, name: str) -> tuple[float, ...]:
    if not isinstance(raw, Sequence) or len(raw) != n or not all(is_number(each) for each in raw):
        raise InputError(
            f"the line has no {name!r} for its {n} responses",
            hint="A report shows what `yoj score FILE --json` wrote; score the file first.",
        )
    return tuple(float(each) for each in raw)
