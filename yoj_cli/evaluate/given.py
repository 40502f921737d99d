"""Another model's scores of the same groups, from a JSON Lines file: {"id": …, "scores": […]}."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError, first_few
from yoj_cli.evaluate.judged import Judged, numbers_of, of_verdict
from yoj_cli.groups import Failure, Group, id_of
from yoj_cli.records.json_line import parse_line
from yoj_cli.verdicts.record import to_record
from yoj_cli.verdicts.verdict import build_verdict

GIVEN = "given"
"""In place of a judge's mode: nothing is known of how the responses were read."""

Line = tuple[str, Mapping[str, Any]]
"""Its place, and what it holds."""


def read_scores(path: Path) -> dict[str, list[Line]]:
    """The lines by id; where an id stands several times, in their order.

    Raises:
        InputError: the file cannot be read, or a line has no id or no scores.
    """
    found: dict[str, list[Line]] = defaultdict(list)
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                where = f"{path}:{number}"
                record = parse_line(line, where=where)
                if record is None:
                    continue
                if record.get("id") is None or "scores" not in record:
                    missing = "id" if record.get("id") is None else "scores"
                    raise InputError(
                        f"the line has no {missing!r}",
                        where=where,
                        hint='A line of --scores is {"id": …, "scores": [one a response, as the file has them]}.',
                    )
                found[id_of(record, "")].append((where, record))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return found


def judge_by_scores(groups: Iterable[Group | Failure], path: Path) -> Iterator[Judged | Failure]:
    """The groups with the scores that a file gives them.

    Scores are matched by id; where an id stands several times, the first line is of the first such group.

    Raises:
        InputError: a group has no scores, scores do not fit their group, or some are of no group.
    """
    lines = read_scores(path)
    for item in groups:
        if isinstance(item, Failure):
            yield item
            continue
        if not lines.get(item.id):
            raise InputError(
                f"has no scores for group {item.id!r} ({item.where})",
                where=str(path),
                hint="Give a line for each group; where ids repeat, one for each time.",
            )
        yield _judged(item, *lines[item.id].pop(0), path)
    left = [key for key, waiting in lines.items() if waiting]
    if left:
        raise InputError(
            f"has scores for {len(left)} ids that are in no group: {first_few(left)}",
            where=str(path),
            hint="Evaluate the groups that were scored; --limit leaves some out.",
        )


def _judged(group: Group, where: str, record: Mapping[str, Any], path: Path) -> Judged:
    n = len(group.responses)
    verdict = build_verdict(group, numbers_of(record, "scores", n, where))
    if record.get("p_best") is not None:
        verdict = replace(verdict, p_best=numbers_of(record, "p_best", n, where))
    described = record.get("judge")
    if isinstance(described, Mapping):  # what `yoj score` wrote: the responses were read as the file has them
        return of_verdict(verdict, order=range(n), record={"id": group.id, **to_record(verdict, described)})
    unknown = {"model": path.name, "mode": GIVEN}
    return of_verdict(verdict, record={"id": group.id, **to_record(verdict, unknown)})
