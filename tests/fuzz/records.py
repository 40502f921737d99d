"""Lines of JSON: each gives a group, or an error of its own."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.target import Target
from tests.test_nasty_lines import VALUES, WHOLE
from yoj_cli.errors import InputError, UnexpectedError
from yoj_cli.groups import Failure, Group
from yoj_cli.records.parse import read_line

# A copy of each value, as a record that it is put into may be changed inside of it.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(VALUES).map(deepcopy),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        *(
            "id",
            "prompt",
            "question",
            "messages",
            "responses",
            "candidates",
            "chosen",
            "rejected",
            "rankings",
        ),
        *(
            "ratings",
            "image",
            "images",
            "video",
            "videos",
            "frames",
            "fps",
            "sampling_interval",
            "role",
            "content",
        ),
        *(
            "type",
            "text",
            "url",
            "image_url",
            "seconds_per_frame",
            "scores",
            "judge",
            "error",
            "input_fields",
        ),
    ]
)


@st.composite
def changed_records(draw: st.DrawFn) -> bytes:
    """A good record with up to three of its values, at any depth, replaced, repeated or taken away."""
    record = json.loads(json.dumps(draw(st.sampled_from(WHOLE))))
    for _ in range(draw(st.integers(1, 3))):
        inner = record
        while isinstance(inner, (dict, list)) and inner:
            places: Any = sorted(inner) if isinstance(inner, dict) else range(len(inner))
            place = draw(st.sampled_from(places))
            if isinstance(inner[place], (dict, list)) and inner[place] and draw(st.booleans()):
                inner = inner[place]
                continue
            if draw(st.integers(0, 9)) == 0:
                del inner[place]
            else:
                inner[place] = draw(JSON)
            break
    return json.dumps(record).encode("utf-8", "surrogatepass")


@st.composite
def changed_bytes(draw: st.DrawFn) -> bytes:
    """A good line with some bytes changed."""
    line = bytearray(json.dumps(draw(st.sampled_from(WHOLE))).encode())
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, len(line) - 1))
        line[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
        line = line or bytearray(b" ")
    return bytes(line)


LINES = st.one_of(
    changed_records(),
    changed_bytes(),
    st.dictionaries(KEYS, JSON, max_size=8).map(
        lambda record: json.dumps(record).encode("utf-8", "surrogatepass")
    ),
    st.binary(max_size=200),
)


def check_line(line: bytes) -> None:
    found = read_line(line, "data.jsonl:1", "1", "", None)
    if isinstance(found, Failure):
        assert isinstance(found.error, InputError), repr(found.error)
        assert not isinstance(found.error, UnexpectedError)
        assert str(found.error).startswith("data.jsonl:1")
    elif found is not None:
        assert isinstance(found, Group)
        assert found.responses
        assert all(isinstance(text, str) for text in found.responses)
        assert found.rankings is None or len(found.rankings) == len(found.responses)
        assert found.messages


RECORDS = Target("records", LINES, check_line)
