"""Every accepted spelling of a line, every refusal with its file and line, and lines made to hurt."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yoj_cli.errors import InputError
from yoj_cli.groups import Failure, Group, Media, Message
from yoj_cli.records.parse import parse, read_groups
from yoj_cli.render.writers import render_json

AB = {"responses": ["a", "b"]}
Q = {"prompt": "q"}
USER_Q = (Message("user", ("q",)),)


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def read(tmp_path: Path, data: bytes) -> list[Group | Failure]:
    path = tmp_path / "data.jsonl"
    path.write_bytes(data)
    return list(read_groups(str(path)))


def refusal(tmp_path: Path, record: Any) -> str:
    """What the error says about the record, which stands on line 2 of data.jsonl."""
    line = record if isinstance(record, bytes) else json.dumps(record).encode()
    before, found = read(tmp_path, b'{"prompt": "q", "responses": ["a"]}\n' + line + b"\n")
    assert isinstance(before, Group)
    assert isinstance(found, Failure)
    assert isinstance(found.error, InputError)
    where = f"{tmp_path / 'data.jsonl'}:2"
    assert (found.where, found.id) == (where, "2")
    text = str(found.error)
    assert text.startswith(where + ": ")
    return text.removeprefix(where + ": ")


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        ({"prompt": "q"}, USER_Q),
        ({"question": "q"}, USER_Q),
        ({"prompt": "q", "question": None, "messages": None}, USER_Q),
        ({"prompt": ""}, (Message("user", ("",)),)),
        ({"messages": [turn("user", "q")]}, USER_Q),
        ({"prompt": [turn("user", "q")]}, USER_Q),
        ({"messages": [turn("user", [{"type": "text", "text": "q"}])]}, USER_Q),
        ({"messages": [turn("user", ["q"])]}, USER_Q),
        (
            {"messages": [turn("system", "s"), turn("user", "1"), turn("assistant", "2"), turn("user", "3")]},
            (
                Message("system", ("s",)),
                Message("user", ("1",)),
                Message("assistant", ("2",)),
                Message("user", ("3",)),
            ),
        ),
    ],
)
def test_every_spelling_of_a_prompt(record: dict[str, Any], messages: tuple[Message, ...]) -> None:
    assert parse({**record, **AB}).messages == messages


@pytest.mark.parametrize(
    ("fields", "media"),
    [
        ({"image": "a.png"}, (Media("image", "a.png"),)),
        ({"images": ["a.png", "b.png"]}, (Media("image", "a.png"), Media("image", "b.png"))),
        ({"images": "a.png"}, (Media("image", "a.png"),)),
        ({"images": []}, ()),
        ({"image": None, "video": None}, ()),
        ({"image": "data:image/png;base64,AA=="}, (Media("image", "data:image/png;base64,AA=="),)),
        ({"video": "a.mp4"}, (Media("video", "a.mp4"),)),
        ({"videos": ["a.mp4"], "images": ["a.png"]}, (Media("image", "a.png"), Media("video", "a.mp4"))),
        ({"video": {"frames": "walk"}}, (Media("frames", "walk", None),)),
        ({"video": {"frames": "walk", "seconds_per_frame": 2}}, (Media("frames", "walk", 2.0),)),
        ({"image": Path("a.png")}, (Media("image", "a.png"),)),
    ],
)
def test_every_spelling_of_media(fields: dict[str, Any], media: tuple[Media, ...]) -> None:
    group = parse({**Q, **AB, **fields})
    assert group.media == media
    assert group.messages == (Message("user", (*media, "q")),)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, None),
        ({"sampling_interval": 2}, 2.0),
        ({"fps": 2}, 2.0),  # seconds, not frames a second: so the released trainer reads it
        ({"sampling_interval": 2, "fps": 30}, 2.0),
        ({"sampling_interval": None, "fps": 0.25}, 0.25),
        ({"sampling_interval": "1.5"}, 1.5),
        ({"fps": -1}, -1.0),
    ],
)
def test_the_official_fields_say_how_far_frames_are_apart(
    fields: dict[str, Any], seconds: float | None
) -> None:
    video = Media("video", "walk", seconds)
    assert parse({**Q, **AB, **fields, "image": "a.png"}).media == (Media("image", "a.png"),)
    assert parse({**Q, **AB, **fields, "video": "walk"}).media == (video,)
    assert parse({**Q, **AB, **fields, "video": {"frames": "walk"}}).media == (
        Media("frames", "walk", seconds),
    )
    block = {"type": "video", "video": "walk"}
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "q"}]}]
    assert parse({**AB, **fields, "messages": messages}).media == (video,)


def test_a_spacing_that_is_no_number_is_left_to_whoever_opens_a_folder() -> None:
    for value in ("30000/1001", True, [2]):
        (video,) = parse({**Q, **AB, "video": "a.mp4", "fps": value}).media
        assert video.seconds_per_frame is not None
        assert math.isnan(video.seconds_per_frame)


def test_two_spacings_must_agree() -> None:
    record = {**Q, **AB, "video": {"frames": "walk", "seconds_per_frame": 2}}
    assert parse({**record, "sampling_interval": 2}).media == (Media("frames", "walk", 2.0),)
    with pytest.raises(InputError, match=r"'seconds_per_frame' is 2 and the line's 'fps' is 0\.5"):
        parse({**record, "fps": 0.5})


@pytest.mark.parametrize(
    ("block", "medium"),
    [
        ({"type": "image", "image": "a.png"}, Media("image", "a.png")),
        ({"type": "image", "url": "http://x/a.png"}, Media("image", "http://x/a.png")),
        ({"type": "image", "path": "a.png", "image": None}, Media("image", "a.png")),
        ({"type": "image_url", "image_url": {"url": "a.png"}}, Media("image", "a.png")),
        ({"type": "image_url", "image_url": "a.png"}, Media("image", "a.png")),
        ({"type": "video", "video": "a.mp4"}, Media("video", "a.mp4")),
        ({"type": "video_url", "video_url": {"url": "a.mp4"}}, Media("video", "a.mp4")),
        ({"type": "video", "video": {"frames": "walk"}}, Media("frames", "walk")),
    ],
)
def test_every_spelling_of_a_media_block(block: dict[str, Any], medium: Media) -> None:
    content = [{"type": "text", "text": "before"}, block, {"type": "text", "text": "after"}]
    group = parse({"messages": [turn("user", content)], **AB})
    assert group.messages == (Message("user", ("before", medium, "after")),)
    assert group.prompt == "before after"


def test_media_beside_messages_come_before_the_first_users_text() -> None:
    record = {"messages": [turn("system", "s"), turn("user", "q")], "image": "a.png", **AB}
    group = parse(record)
    assert group.messages[1] == Message("user", (Media("image", "a.png"), "q"))


def test_bare_blocks_show_the_media_beside_the_messages_in_order() -> None:
    content = [{"type": "image"}, "then", {"type": "video", "video": None}, {"type": "image", "text": None}]
    record = {"messages": [turn("user", content)], "images": ["1.png", "2.png"], "video": "c.mp4", **AB}
    shown = (Media("image", "1.png"), "then", Media("video", "c.mp4"), Media("image", "2.png"))
    assert parse(record).messages == (Message("user", shown),)


@pytest.mark.parametrize(
    ("fields", "prompt"), [({"image": "a"}, "Describe this image."), ({"video": "a"}, "Describe this video.")]
)
def test_media_without_a_prompt_are_to_be_described(fields: dict[str, Any], prompt: str) -> None:
    assert parse({**AB, **fields}).prompt == prompt


@pytest.mark.parametrize(
    ("fields", "responses", "rankings"),
    [
        ({"responses": ["a", "b"]}, ("a", "b"), None),
        ({"responses": ["a"]}, ("a",), None),
        ({"responses": [""]}, ("",), None),
        ({"candidates": ["a", "b"]}, ("a", "b"), None),
        ({"responses": ["a", "b"], "rankings": None}, ("a", "b"), None),
        ({"responses": ["a", "b", "c"], "rankings": [2, 1, 1.5]}, ("a", "b", "c"), (2.0, 1.0, 1.5)),
        ({"responses": ["a", "b"], "ratings": [0.1, 0.93]}, ("a", "b"), (2.0, 1.0)),
        ({"responses": ["a", "b", "c"], "ratings": [-7, 1e300, -7]}, ("a", "b", "c"), (2.0, 1.0, 2.0)),
        ({"chosen": "a", "rejected": "b"}, ("a", "b"), (1.0, 2.0)),
        ({"chosen": "a", "rejected": "b", "responses": None}, ("a", "b"), (1.0, 2.0)),
        (
            {"chosen": [turn("assistant", "a")], "rejected": [turn("assistant", ["b"])]},
            ("a", "b"),
            (1.0, 2.0),
        ),
        ({"responses": [[turn("assistant", "a")], "b"]}, ("a", "b"), None),
    ],
)
def test_every_spelling_of_responses(
    fields: dict[str, Any], responses: tuple[str, ...], rankings: tuple[float, ...] | None
) -> None:
    group = parse({**Q, **fields})
    assert (group.responses, group.rankings) == (responses, rankings)


def test_pairs_of_whole_conversations_have_their_prompt_in_front() -> None:
    asked = [turn("system", "s"), turn("user", "q")]
    pair = {"chosen": [*asked, turn("assistant", "a")], "rejected": [*asked, turn("assistant", "b")]}
    group = parse(pair)
    assert group.messages == (Message("system", ("s",)), *USER_Q)
    assert group.responses == ("a", "b")
    assert parse({**pair, "prompt": asked}).messages == group.messages
    assert (
        parse({"prompt": "q", "responses": [[turn("user", "q"), turn("assistant", "a")]]}).messages == USER_Q
    )


@pytest.mark.parametrize(
    ("raw", "shown"), [("x", "x"), (7, "7"), (None, "12"), ("", ""), (["a", 1], "['a', 1]")]
)
def test_an_id_is_text_and_else_the_line_number(raw: Any, shown: str) -> None:
    assert parse({**Q, **AB, "id": raw}, default_id="12").id == shown
    assert parse({**Q, **AB}, default_id="12").id == "12"


def test_the_line_is_kept_as_it_is() -> None:
    record = {"x": {"y": [1, 2.5, None, True]}, **Q, **AB, "label": "é"}
    assert parse(record).record is record


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({}, "the line has no responses\nGive 'responses' (a list of texts), or 'chosen' and 'rejected'."),
        (Q, "the line has no responses"),
        (AB, "the line has no prompt\nGive 'prompt' (a text) or 'messages' (a conversation)."),
        ({**Q, "responses": []}, "'responses' must be a list of at least one text, found an empty list"),
        ({**Q, "responses": "a"}, "'responses' must be a list of at least one text, found a text"),
        ({**Q, "responses": {"a": 1}}, "'responses' must be a list of at least one text, found an object"),
        ({**Q, "responses": ["a", 3]}, "'responses[1]' must be a text, found the number 3"),
        ({**Q, "responses": ["a", None]}, "'responses[1]' must be a text, found nothing"),
        ({**Q, "candidates": [["a"]]}, "'candidates[0]' must be a text, found a list"),
        (
            {**Q, **AB, "candidates": ["a"]},
            "the line has both 'responses' and 'candidates'; keep one of the two",
        ),
        ({**Q, **AB, "chosen": "a"}, "the line has both 'responses' and 'chosen'/'rejected'; keep one"),
        ({**Q, "chosen": "a"}, "the line has 'chosen' but no 'rejected'"),
        ({**Q, "rejected": "a", "chosen": None}, "the line has 'rejected' but no 'chosen'"),
        ({**Q, "chosen": 1, "rejected": "b"}, "'chosen' must be a text, found the number 1"),
        ({**Q, "chosen": "a", "rejected": [turn("user", "b")]}, "'rejected' must be a text, found a list"),
        (
            {**Q, "chosen": "a", "rejected": "b", "rankings": [2, 1]},
            "the line has both 'rankings' and 'chosen'",
        ),
        (
            {**Q, "responses": [[turn("assistant", [{"type": "image", "image": "a"}])]]},
            "responses[0] must be text only",
        ),
        (
            {"chosen": [turn("user", "1"), turn("assistant", "a")], "rejected": [turn("assistant", "b")]},
            "the responses begin with different turns; they must answer one prompt",
        ),
        (
            {**Q, "responses": [[turn("user", "other"), turn("assistant", "a")]]},
            "the responses begin with other turns than the prompt; keep one of the two",
        ),
        ({**Q, **AB, "rankings": 1}, "'rankings' must be a list of numbers, 1 = best"),
        ({**Q, **AB, "rankings": ["1", "2"]}, "'rankings' must be a list of numbers, 1 = best"),
        ({**Q, **AB, "rankings": [True, False]}, "'rankings' must be a list of numbers, 1 = best"),
        ({**Q, **AB, "rankings": [1, 10**400]}, "'rankings' must be a list of numbers, 1 = best"),
        ({**Q, **AB, "rankings": [1]}, "'rankings' has 1 entries for 2 responses"),
        (
            {**Q, **AB, "rankings": [0.93, 0.1]},
            "'rankings' holds the number 0.93; ranks of 2 responses go from",
        ),
        ({**Q, **AB, "rankings": [100, 1]}, "'rankings' holds the number 100; ranks of 2 responses go from"),
        (
            {**Q, **AB, "rankings": [0, 1]},
            "'rankings' holds the number 0; ranks of 2 responses go from 1 (the",
        ),
        ({**Q, **AB, "rankings": [1, -1]}, "'rankings' holds the number -1; ranks of 2 responses go from 1"),
        (
            {**Q, **AB, "rankings": [1, 2], "ratings": [1, 2]},
            "the line has both 'rankings' and 'ratings'; keep",
        ),
        ({**Q, **AB, "ratings": "5"}, "'ratings' must be a list of numbers, higher is better"),
        ({**Q, **AB, "ratings": [5, None]}, "'ratings' must be a list of numbers, higher is better"),
        ({**Q, **AB, "ratings": [1, 2, 3]}, "'ratings' has 3 entries for 2 responses"),
        (
            {**Q, "chosen": "a", "rejected": "b", "ratings": [2, 1]},
            "the line has both 'ratings' and 'chosen'",
        ),
        ({"prompt": 3, **AB}, "'prompt' must be a text, found the number 3"),
        ({"question": {"a": 1}, **AB}, "'question' must be a text, found an object"),
        (
            {"prompt": "a", "question": "b", **AB},
            "the line has both 'prompt' and 'question'; keep one of the two",
        ),
        ({**Q, "messages": [turn("user", "q")], **AB}, "the line has both 'messages' and 'prompt'; keep one"),
        ({"messages": [], **AB}, "'messages' must be a list of turns, found an empty list"),
        ({"messages": "q", **AB}, "'messages' must be a list of turns, found a text"),
        ({"messages": ["q"], **AB}, "messages[0] must be an object with 'role' and 'content'"),
        ({"messages": [{"content": "q"}], **AB}, "messages[0] must be an object with 'role' and 'content'"),
        (
            {"prompt": [turn("user", 3)], **AB},
            "prompt[0].content must be a text or a list of blocks, found the",
        ),
        (
            {"messages": [turn("user", [{"type": "audio"}])], **AB},
            "messages[0].content[0] is no text, image or",
        ),
        (
            {"messages": [turn("user", [{"type": "text"}])], **AB},
            "messages[0].content[0] is no text, image or",
        ),
        (
            {"messages": [turn("user", "q"), turn("assistant", "a")], **AB},
            "the last of 'messages' is from 'assistant'; the responses answer a 'user' turn\nPut candidate",
        ),
        (
            {"messages": [turn("user", [{"type": "image", "image": "a"}])], "image": "b", **AB},
            "media stand both inside the turns and beside them; keep one of the two",
        ),
        (
            {"messages": [turn("user", [{"type": "image"}])], **AB},
            "the turns show more images than the line has\nName each one in its block, or in 'images'",
        ),
        (
            {"messages": [turn("user", [{"type": "image"}])], "images": ["a", "b"], **AB},
            "the turns do not show all media: image b is left",
        ),
        (
            {"messages": [turn("user", [{"type": "image_url"}])], **AB},
            "'messages[0].content[0]' must name a picture, found nothing",
        ),
        ({**Q, **AB, "image": 3}, "'image' must name a picture, found the number 3"),
        ({**Q, **AB, "image": ""}, "'image' must name a picture, found an empty text"),
        ({**Q, **AB, "images": ["a", None]}, "'images' must name a picture, found nothing"),
        ({**Q, **AB, "video": {"frames": []}}, "the list of frames in 'video' is empty"),
        (
            {**Q, **AB, "video": {"frames": ["a.png", 3]}},
            "'video.frames' must name a picture, found the number 3",
        ),
        ({**Q, **AB, "image": {"frames": "walk"}}, "'image' must name a picture, found an object"),
        ({**Q, **AB, "video": True}, "'video' must name a clip, found true or false"),
        (
            {**Q, **AB, "image": "a", "images": ["b"]},
            "the line has both 'image' and 'images'; keep one of the two",
        ),
        *[
            (
                {**Q, **AB, "video": {"frames": "walk", "seconds_per_frame": seconds}},
                "seconds_per_frame in 'video'",
            )
            for seconds in (0, -1, "1", True, 10**400)
        ],
        ([{**Q, **AB}], "expected a JSON object, found a list\n`jq -c '.[]'` writes a list as lines."),
        ("text", "expected a JSON object, found '\"text\"'"),
        (12, "expected a JSON object, found '12'"),
        (None, "expected a JSON object, found 'null'"),
    ],
)
def test_every_refusal_names_the_file_and_the_line(tmp_path: Path, record: Any, what: str) -> None:
    assert refusal(tmp_path, record).startswith(what)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"prompt": "q"', "the line is not JSON: Expecting ',' delimiter (column 15)"),
        (b"{", "the line is not JSON: Expecting property name"),
        (
            b"prompt,a,b",
            "the line is not JSON: Expecting value (column 1)\nOne JSON object per line is expected",
        ),
        (b'{"a": 1}{"b": 2}', "the line is not JSON: Extra data (column 9)"),
        (b'{"a": "\x00"}', "the line is not JSON: Invalid control character"),
        (b'{"a": "\xff"}', "the line is not UTF-8 (byte 7)\nSave the file as UTF-8 text"),
        (b'{"a": "\xed\xa0\xbd"}', "the line is not UTF-8 (byte 7)"),
        (b"\x1f\x8b\x08\x00", "the line is not UTF-8 (byte 1)"),
        ('{"a": 1}'.encode("utf-16"), "the line is not UTF-8 (byte 0)"),
        (b'{"a": NaN}', "NaN is not JSON\nWrite null where there is no number."),
        (b'{"a": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"a": 1e400}', "the number 1e400 is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the line holds an integer of thousands of digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice in one object; keep one of the two"),
        (
            b'{"a": {"' + b"k" * 999 + b'": 1, "' + b"k" * 999 + b'": 1}}',
            f"the key '{'k' * 60}' stands twice",
        ),
        (b"[" * 100_000, "the line is nested more than 100 deep"),
        (b'{"a":' * 100_000, "the line is nested more than 100 deep"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "the line is nested more than 100 deep"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused(tmp_path: Path, line: bytes, what: str) -> None:
    assert refusal(tmp_path, line).startswith(what)


GOOD = b'{"prompt": "q", "responses": ["a"]}'


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (b"", []),
        (b"\n \r\n\t\n", []),
        (b"\xef\xbb\xbf", []),
        (GOOD, ["1"]),
        (GOOD + b"\n", ["1"]),
        (b"\xef\xbb\xbf" + GOOD + b"\r\n" + GOOD + b"\r\n", ["1", "2"]),
        (b"\n\n" + GOOD + b"\n\n" + GOOD, ["3", "5"]),
        ('{"prompt": "a\u2028b\u0085c", "responses": ["a"]}'.encode(), ["1"]),
    ],
)
def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path, data: bytes, ids: list[str]) -> None:
    groups = read(tmp_path, data)
    assert [group.id for group in groups] == ids
    assert [group.where for group in groups] == [f"{tmp_path / 'data.jsonl'}:{number}" for number in ids]


def test_what_is_read_can_be_written_back(tmp_path: Path) -> None:
    deep = '{"a":' * 98 + "1" + "}" * 98
    line = (
        '{"prompt": "\\ud83d", "responses": ["\\udc00"], "n": 123456789012345678901234567890, '
        f'"x": [0.1, -0.0, 1e308, true, null, "é\\u0000"], "deep": {deep}}}'
    )
    (group,) = read(tmp_path, line.encode())
    assert isinstance(group, Group)
    written = render_json(group.record)
    assert json.loads(written.encode()) == json.loads(line)


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    (group,) = read(tmp_path, json.dumps({**Q, "responses": ["x" * 10_000_000, "b"]}).encode())
    assert isinstance(group, Group)
    assert len(group.responses[0]) == 10_000_000


def test_a_bad_line_costs_no_other(tmp_path: Path) -> None:
    found = read(
        tmp_path, GOOD + b"\n{bad\n" + GOOD + b'\n{"id": "x", "prompt": 3, "responses": ["a"]}\n' + GOOD
    )
    assert [isinstance(one, Group) for one in found] == [True, False, True, False, True]
    assert [one.id for one in found] == ["1", "2", "3", "x", "5"]
    assert isinstance(found[3], Failure)
    assert found[3].record["prompt"] == 3


class Lines(io.RawIOBase):
    """A stream that makes its lines when they are read."""

    def __init__(self, line: bytes, count: int) -> None:
        self.lines = (line for _ in range(count))

    def __iter__(self) -> Iterator[bytes]:
        return self.lines


def test_memory_does_not_grow_with_the_stream() -> None:
    line = json.dumps({**Q, "responses": ["a", "b"]}).encode() + b"\n"
    groups = read_groups("-", Lines(line, 100_000))
    for _ in range(1000):
        next(groups)
    n_blocks = sys.getallocatedblocks()
    assert sum(isinstance(group, Group) for group in groups) == 99_000
    assert sys.getallocatedblocks() < n_blocks + 10_000


def test_standard_input_is_called_so() -> None:
    good, bad = read_groups("-", io.BytesIO(GOOD + b"\n{\n"))
    assert (good.where, bad.where) == ("stdin:1", "stdin:2")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope\.jsonl: cannot be read \(No such file or directory\)"):
        list(read_groups(str(tmp_path / "nope.jsonl")))


def test_a_record_from_python_is_refused_without_a_place() -> None:
    with pytest.raises(InputError) as caught:
        parse({"prompt": "q"})
    assert caught.value.where == ""
