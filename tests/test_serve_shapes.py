"""Bodies of one shape: whatever is sent, what is wrong with it is said in words of the sender's, and fast."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from yoj_cli.serve.rerank_shapes import RerankRequest
from yoj_cli.serve.shapes import first_wrong
from yoj_cli.serve.trainers import OpenRLHFRequest, SlimeRequest

SHAPES = (RerankRequest, OpenRLHFRequest, SlimeRequest)
NAMES = ("query", "documents", "prompt", "prompts", "response", "content", "text", "image", "top_n", "model")
PLACE = r"(the body|\w+(\[\d+\]|\.\w+)*)"
SENTENCE = re.compile(
    rf"{PLACE} (has no ('\w+'( or )?)+|must not be empty|must be [\w ]+, found .+)|top_n: Input should be .+"
)

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(0, 2) | st.sampled_from(["", "a"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("shape", SHAPES)
@given(document=values)
def test_what_is_wrong_is_said_without_a_word_of_pydantics(shape: type[BaseModel], document: Any) -> None:
    said = "the body must not be empty"
    try:
        shape.model_validate(document)
    except ValidationError as error:
        said = first_wrong(error, document)
    assert SENTENCE.fullmatch(said), said


@pytest.mark.parametrize("shape", SHAPES)
def test_every_list_is_refused_for_its_first_wrong_item(shape: type[BaseModel]) -> None:
    """A list without `fail_fast` costs 5 KB for each of a million wrong items; `Items` has it."""

    def lists(schema: Any) -> list[bool]:
        inner = list(schema.values()) if isinstance(schema, dict) else schema
        found = [each for value in inner if isinstance(value, dict | list | tuple) for each in lists(value)]
        is_list = isinstance(schema, dict) and schema.get("type") == "list"
        return [*found, bool(schema.get("fail_fast"))] if is_list else found

    found = lists(shape.__pydantic_core_schema__)
    assert found
    assert all(found)
