"""Columns of foreign rows: found by their likely names, or an error that says what was looked for and what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.errors import InputError, first_few
from yoj_cli.records.parse import rank_ratings
from yoj_cli.records.sets.public_set import LeftOutError, Record
from yoj_cli.records.turns import is_number, kind_of

ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
PLACEHOLDER = re.compile(r"\s*<(?:image|video)>\s*")
"""How LLaVA's data show where the picture is; ours stands in front of the text anyway."""


def find_column(row: Mapping[str, Any], what: str, *names: str) -> Any:
    """The value of the first of these columns that is there; None where its value is null.

    Args:
        what: what the column holds, for the error.
    Raises:
        InputError: none of them is there.
    """
    for name in names:
        if name in row:
            return row[name]
    raise InputError(
        f"no column for {what}: looked for {', '.join(names)}; found {first_few(sorted(map(str, row)), 20) or 'none'}",
        hint="Give a copy of the set as it was published (--data), or rename the column.",
    )


def find_optional(row: Mapping[str, Any], *names: str) -> Any:
    """The first of these columns that holds something; None without one."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def text_column(row: Mapping[str, Any], what: str, *names: str) -> str:
    """A column that holds a text.

    Raises:
        InputError: it is not there, or holds anything else.
    """
    return as_text(find_column(row, what, *names), what)


def as_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} must be a text, found {kind_of(value)}")
    return value


def as_items(value: Any, what: str) -> list[Any]:
    """A list, or an object of equally long lists (how the Hub stores a list of objects) as a list of objects.

    Raises:
        InputError: it is neither.
    """
    if (
        isinstance(value, Mapping)
        and value
        and all(isinstance(each, (list, tuple)) for each in value.values())
    ):
        lengths = {len(each) for each in value.values()}
        if len(lengths) == 1:
            return [dict(zip(value, each, strict=True)) for each in zip(*value.values(), strict=True)]
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{what} must be a list, found {kind_of(value)}")
    return list(value)


def as_object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} must be an object, found {kind_of(value)}")
    return value


def as_number(value: Any) -> float | None:
    """A number, or a text that holds one; None for anything else ("N/A")."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if is_number(value) else None


def turns_of(value: Any, what: str) -> list[dict[str, str]]:
    """A conversation as [{"role", "content"}]; both `role`/`content` and LLaVA's `from`/`value` are read.

    Raises:
        InputError: a turn is neither, or from nobody that is known.
    """
    turns = []
    for index, item in enumerate(as_items(value, what)):
        turn = as_object(item, f"{what}[{index}]")
        role = as_text(find_column(turn, f"the role in {what}[{index}]", "role", "from"), "the role")
        if role.lower() not in ROLES:
            raise InputError(f"{what}[{index}] has the unknown role {role[:40]!r}")
        content = text_column(turn, f"the text of {what}[{index}]", "content", "value")
        turns.append({"role": ROLES[role.lower()], "content": content})
    return turns


def pair_of(chosen: Sequence[Mapping[str, str]], rejected: Sequence[Mapping[str, str]]) -> Record:
    """Two conversations that differ in what the assistant said last.

    Raises:
        LeftOutError: they differ earlier, or do not end with an answer.
    """
    if not chosen or not rejected or chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise LeftOutError("a conversation does not end with an answer")
    if list(chosen[:-1]) != list(rejected[:-1]):
        raise LeftOutError("the two conversations part before their last answers")
    if len(chosen) == 1 or chosen[-2]["role"] != "user":
        raise LeftOutError("nothing is asked before the answers")
    return {**prompt_of(chosen[:-1]), **ranked(chosen[-1]["content"], rejected[-1]["content"])}


def prompt_of(turns: Sequence[Mapping[str, str]]) -> Record:
    """One turn as "prompt", several as "messages"."""
    return (
        {"prompt": turns[0]["content"]} if len(turns) == 1 else {"messages": [dict(turn) for turn in turns]}
    )


def ranked(better: str, worse: str) -> Record:
    return {"responses": [better, worse], "rankings": [1, 2]}


def rated(responses: Sequence[str], ratings: Sequence[float]) -> Record:
    """Responses with ratings, higher is better; equal ones tie."""
    return {"responses": list(responses), "rankings": [int(rank) for rank in rank_ratings(ratings)]}


def preferred(first: str, second: str, better: int) -> Record:
    """Two responses; `better` is 0 for the first, 1 for the second and -1 for a tie."""
    rankings = {0: [1, 2], 1: [2, 1], -1: [1, 1]}[better]
    return {"responses": [first, second], "rankings": rankings}


def media_of(row: Mapping[str, Any], *, is_needed: bool) -> Record:
    """The pictures and clips of a row under the names of the training format.

    Raises:
        InputError: it has none and needs one.
    """
    found: Record = {}
    image = find_optional(row, "image", "images", "img_path", "image_path")
    video = find_optional(row, "video", "video_path", "videos")
    if image is not None:
        found["images"] = list(image) if isinstance(image, (list, tuple)) else [image]
    if video is not None:
        found["videos"] = list(video) if isinstance(video, (list, tuple)) else [video]
    if is_needed and not found:
        find_column(row, "the picture or clip", "image", "images", "img_path", "image_path", "video")
        raise LeftOutError("the row shows no picture")
    return found


def without_placeholder(text: str) -> str:
    """LLaVA's <image> and <video> taken out of a prompt."""
    return PLACEHOLDER.sub("\n", text).strip() if PLACEHOLDER.search(text) else text


def with_id(row: Mapping[str, Any], record: Record, *names: str) -> Record:
    """The record with the row's id in front, where it has one."""
    found = find_optional(row, *names)
    return record if found is None else {"id": str(found), **record}
