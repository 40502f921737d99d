"""Rows to groups: all votes on one prompt together, with the texts of what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoj_cli.config.limits import LIMITS, LineLimits
from yoj_cli.errors import InputError, first_few
from yoj_cli.votes.parse import parse_group, parse_row
from yoj_cli.votes.rows import read_rows
from yoj_cli.votes.vote import Row, VotedGroup


@dataclass(slots=True)
class Votes:
    """Everything that was read.

    Attributes:
        groups: in the order of their first votes.
        errors: of rows that could not be used.
        n_without_votes: texts whose response or group nobody voted on; they are left out.
    """

    groups: list[VotedGroup] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)
    n_without_votes: int = 0


def read_votes(
    paths: Sequence[str],
    columns: Mapping[str, str],
    *,
    texts: str | None = None,
    skip: bool = False,
    limits: LineLimits = LIMITS,
) -> Votes:
    """Read files of votes whole.

    Args:
        columns: see `parse_row`.
        texts: a file with prompts and responses.
        skip: go on after a row that cannot be used, and keep its error.
        limits: of the files' lines.
    Raises:
        InputError: a file cannot be read; without `skip` also the first row that cannot be used.
    """
    found = Votes()
    groups: dict[str, VotedGroup] = {}
    for path in paths:
        for where, raw in read_rows(path, limits):
            try:
                row = parse_row(_record(raw), columns, default_id=where.rpartition(":")[2])
                _add(groups, row, where)
            except InputError as error:
                _keep(found, error, where, skip=skip)
    if texts is not None:
        _add_texts(found, groups, texts, limits, skip=skip)
    found.groups = [group for group in groups.values() if group.votes]
    for number, group in enumerate(found.groups, start=1):
        group.id = str(number) if group.id is None else group.id
        voted = set(group.names)
        found.n_without_votes += sum(name not in voted for name in group.texts)
    return found


def _add(groups: dict[str, VotedGroup], row: Row, where: str) -> None:
    """All of a row, or nothing of it."""
    group = groups.get(row.key) or VotedGroup(row.key, row.id, where=where)
    _check(group.texts, row.texts, "the text of")
    _check(group.fields, row.fields, "the group's")
    groups[row.key] = group
    group.id = row.id if group.id is None else group.id
    group.votes.extend(row.votes)
    group.texts.update(row.texts)
    group.fields.update(row.fields)


def _check(known: Mapping[str, Any], new: Mapping[str, Any], what: str) -> None:
    for name, value in new.items():
        if name in known and known[name] != value:
            raise InputError(
                f"{what} {name[:60]!r} is another one than before",
                hint="Groups are told apart by their group or id, where they have one, and responses by their names.",
            )


def _add_texts(
    found: Votes, groups: dict[str, VotedGroup], path: str, limits: LineLimits, *, skip: bool
) -> None:
    by_prompt = {group.fields["prompt"]: group for group in groups.values() if "prompt" in group.fields}
    for where, raw in read_rows(path, limits):
        try:
            row = _parse_texts(_record(raw), where.rpartition(":")[2])
            group = groups.get(row.key) or by_prompt.get(row.fields.get("prompt", ""))
            if group is None:
                found.n_without_votes += len(row.texts)
                continue
            _add({group.key: group}, Row(group.key, group.id, (), row.texts, row.fields), where)
        except InputError as error:
            _keep(found, error, where, skip=skip)


def _parse_texts(record: Mapping[str, Any], default_id: str) -> Row:
    """A group with `responses`, or one response: its group, its name and its text."""
    if "responses" in record:
        return parse_group(record, default_id)
    missing = [key for key in ("name", "text") if record.get(key) is None]
    key = next((record[key] for key in ("group", "id", "prompt") if record.get(key) is not None), None)
    if missing or key is None:
        raise InputError(
            f"the row has no {missing[0] if missing else 'group'!r}",
            hint="Texts are groups with 'responses' and 'names', or have a 'group', a 'name' and a 'text' each.",
        )
    if not isinstance(record["text"], str):
        raise InputError("'text' must be a text")
    fields = {name: value for name, value in record.items() if name not in ("group", "id", "name", "text")}
    return Row(str(key), None, (), {str(record["name"]): record["text"]}, fields)


def _record(raw: Mapping[str, Any] | InputError) -> Mapping[str, Any]:
    if isinstance(raw, InputError):
        raise raw
    return raw


def _keep(found: Votes, error: InputError, where: str, *, skip: bool) -> None:
    if not error.where:
        error.where = where
    if not skip:
        raise error
    found.errors.append(error)


def find_group(groups: Iterable[VotedGroup], name: str) -> VotedGroup:
    """A group by its id, else by its prompt.

    Raises:
        InputError: there is none.
    """
    every = list(groups)
    for group in every:
        if name in (group.id, group.key):
            return group
    ids = first_few([str(group.id)[:40] for group in every], 8)
    raise InputError(
        f"there is no group {name[:60]!r}", hint=f"There are {len(every):,}: {ids}" if ids else ""
    )
