"""What all bodies of one shape have in common: their lists, and words for what is wrong with them."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import Field, ValidationError

from yoj_cli.records.turns import kind_of

Item = TypeVar("Item")

Items: TypeAlias = Annotated[list[Item], Field(fail_fast=True)]
"""A list that is refused for its first wrong item: pydantic's own take 5 KB and 40 µs for each of a million."""

EXPECTED = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
"""What pydantic wants, by the type of its error."""

TOO_SHORT = ("too_short", "string_too_short")
"""Of what must have one item, or character."""

Place: TypeAlias = tuple[str | int, ...]


def first_wrong(error: ValidationError, document: Any) -> str:
    """What is wrong with a body, each field as its sender wrote it: "documents[3] must be a text, found nothing".

    pydantic tries each shape that a field may have, and its places name these too. Of its errors those count that lie
    deepest in the document: they are about the shape that was meant.
    """
    found = [(_follow(each["loc"], document), each) for each in error.errors(include_url=False)]
    deepest, _ = max(found, key=lambda each: len(each[0]))
    at_place = [each for place, each in found if place == deepest]
    value = document
    for part in deepest:
        value = value[part]
    missing = [repr(each["loc"][-1]) for each in at_place if each["type"] == "missing"]
    if missing:
        return f"{_said(deepest)} has no {' or '.join(missing)}"
    for each in at_place:
        if each["type"] in TOO_SHORT:
            return f"{_said(deepest)} must not be empty"
        if each["type"] not in EXPECTED:
            return f"{_said(deepest)}: {each['msg']}"
    expected = dict.fromkeys(EXPECTED[each["type"]] for each in at_place)
    return f"{_said(deepest)} must be {' or '.join(expected)}, found {kind_of(value)}"


def _follow(place: Place, document: Any) -> Place:
    """As much of pydantic's place as is in the document, without the names of shapes."""
    found: list[str | int] = []
    for part in place:
        has_part = (isinstance(document, dict) and part in document) or (
            isinstance(document, list) and isinstance(part, int) and part < len(document)
        )
        if has_part:
            document = document[part]
            found.append(part)
    return tuple(found)


def _said(place: Place) -> str:
    """As a person writes it: documents[3].text."""
    said = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return said.removeprefix(".") or "the body"
