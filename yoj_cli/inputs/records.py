"""One JSON line <-> one Group: the only parser of the line format.

Read besides the official training format `{"prompt", "responses", "rankings"?, "image" | "video"}`:
chat `messages`, `{"prompt", "chosen", "rejected"}` pairs (TRL), `candidates` for `responses` and
`question` for `prompt`. Whatever else a line holds is carried through to the output unchanged.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal

from yoj_cli.errors import InputError, YojError

if TYPE_CHECKING:
    from PIL.Image import Image

MediaKind = Literal["image", "video", "frames"]

PROMPT_KEYS = ("prompt", "question")
RESPONSES_KEYS = ("responses", "candidates")
IMAGE_KEYS = ("image", "images")
VIDEO_KEYS = ("video", "videos")
DEFAULT_PROMPT = {"image": "Describe this image.", "video": "Describe this video."}


@dataclass(frozen=True, slots=True)
class Media:
    """One picture, one clip, or one folder of frames.

    Attributes:
        kind: "image", "video" (a file to sample) or "frames" (a folder of pictures sorted by name).
        source: a path, a data: URL, an http(s) URL, or a picture already in memory.
        seconds_per_frame: time between the frames of a folder; None for everything else.
    """

    kind: MediaKind
    source: str | Image
    seconds_per_frame: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `blocks` holds texts (str) and the media shown between them, in order."""

    role: str
    blocks: tuple[str | Media, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt with its N responses.

    Attributes:
        id: the line's "id" as text, else its line number.
        messages: the conversation up to the responses; the last turn is the user's.
        responses: (N,) candidate texts, N >= 1.
        rankings: (N,) 1 = best, ties allowed; None where the line has none.
        record: the input line as it was read, written back with the scores.
        where: "data.jsonl:17".
    """

    id: str
    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    rankings: tuple[float, ...] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(block for turn in self.messages for block in turn.blocks if isinstance(block, Media))

    @property
    def prompt(self) -> str:
        """The last user turn's text."""
        return " ".join(block for block in self.messages[-1].blocks if isinstance(block, str))


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that gave no group, or a group that gave no verdict; `error` says which line and why."""

    where: str
    record: Mapping[str, Any]
    error: YojError


def read_groups(path: str, stdin: IO[bytes] | None = None) -> Iterator[Group | Failure]:
    """Read a JSON Lines file one line at a time; memory does not grow with the file.

    Args:
        path: a file, or "-" for `stdin`.
        stdin: the binary stream behind "-"; the process's own by default.
    Raises:
        InputError: the file cannot be opened or read. Bad lines are yielded as a Failure instead.
    """
    name = "stdin" if path == "-" else path
    try:
        with nullcontext(stdin or sys.stdin.buffer) if path == "-" else open(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _read_line(line, f"{name}:{number}", number)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=name) from error


def _read_line(line: bytes, where: str, number: int) -> Group | Failure:
    record: Any = {}
    try:
        record = _decode(line, where)
        return parse(record, where=where, default_id=str(number))
    except InputError as error:
        return Failure(where, record if isinstance(record, dict) else {}, error)


def _decode(line: bytes, where: str) -> Any:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"the line is not UTF-8 (byte {error.start})", where=where) from error
    except json.JSONDecodeError as error:
        hint = "One JSON object per line is expected." if error.msg.startswith("Expecting") else ""
        raise InputError(
            f"the line is not JSON: {error.msg} (column {error.colno})", where=where, hint=hint
        ) from error
    except RecursionError as error:
        raise InputError("the line is nested too deeply to be read", where=where) from error
    if not isinstance(record, dict):
        raise InputError(f"expected a JSON object, found {_kind(record)}", where=where)
    return record


def parse(record: Mapping[str, Any], *, where: str = "", default_id: str = "") -> Group:
    """One input record -> one Group.

    Raises:
        InputError: a field is missing, contradicts another or has the wrong type.
    """
    try:
        responses, rankings = _parse_responses(record)
        return Group(
            id=str(record.get("id", default_id)),
            messages=_parse_messages(record),
            responses=responses,
            rankings=rankings,
            record=record,
            where=where,
        )
    except InputError as error:
        error.where = error.where or where
        raise


def _parse_responses(record: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...] | None]:
    key, raw = _one_of(record, RESPONSES_KEYS)
    if key is None:
        return _parse_pair(record)
    if "chosen" in record or "rejected" in record:
        raise InputError(f"the line has both {key!r} and 'chosen'/'rejected'; keep one of the two")
    if not isinstance(raw, list) or not raw:
        raise InputError(f"{key!r} must be a list of at least one text, found {_kind(raw)}")
    responses = tuple(_response_text(item, f"{key}[{index}]") for index, item in enumerate(raw))
    rankings = record.get("rankings")
    return responses, None if rankings is None else _parse_rankings(rankings, len(responses))


def _parse_pair(record: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    missing = [key for key in ("chosen", "rejected") if key not in record]
    if len(missing) == 2:
        raise InputError(
            "the line has no responses",
            hint="Give 'responses' (a list of texts), or 'chosen' and 'rejected'.",
        )
    if missing:
        raise InputError(
            f"the line has no {missing[0]!r} beside {'chosen' if missing[0] == 'rejected' else 'rejected'!r}"
        )
    chosen, rejected = record["chosen"], record["rejected"]
    return (_response_text(chosen, "chosen"), _response_text(rejected, "rejected")), (1.0, 2.0)


def _response_text(raw: Any, field_name: str) -> str:
    """A text, or (TRL's conversational form) a list whose last turn is the assistant's text."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, list) and raw and isinstance(raw[-1], dict) and raw[-1].get("role") == "assistant":
        blocks = _parse_content(raw[-1].get("content"), field_name)
        if all(isinstance(block, str) for block in blocks):
            return " ".join(block for block in blocks if isinstance(block, str))
    raise InputError(f"{field_name!r} must be a text, found {_kind(raw)}")


def _parse_rankings(raw: Any, n: int) -> tuple[float, ...]:
    good = isinstance(raw, list) and all(
        isinstance(rank, (int, float)) and not isinstance(rank, bool) and math.isfinite(rank) for rank in raw
    )
    if not good:
        raise InputError("'rankings' must be a list of numbers, 1 = best")
    if len(raw) != n:
        raise InputError(f"'rankings' has {len(raw)} entries for {n} responses")
    return tuple(float(rank) for rank in raw)


def _parse_messages(record: Mapping[str, Any]) -> tuple[Message, ...]:
    media = _parse_media(record)
    key, prompt = _one_of(record, PROMPT_KEYS)
    messages = record.get("messages")
    if isinstance(prompt, list) and messages is None:  # TRL's conversational prompt
        key, prompt, messages = None, None, prompt
    if messages is not None:
        if key is not None:
            raise InputError(f"the line has both 'messages' and {key!r}; keep one of the two")
        return _parse_conversation(messages, media)
    if prompt is None:
        if not media:
            raise InputError(
                "the line has no prompt", hint="Give 'prompt' (a text) or 'messages' (a conversation)."
            )
        prompt = DEFAULT_PROMPT["image" if media[0].kind == "image" else "video"]
    if not isinstance(prompt, str):
        raise InputError(f"{key!r} must be a text, found {_kind(prompt)}")
    return (Message("user", (*media, prompt)),)


def _parse_conversation(raw: Any, media: tuple[Media, ...]) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise InputError(f"'messages' must be a list of turns, found {_kind(raw)}")
    turns = []
    for index, turn in enumerate(raw):
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise InputError(f"messages[{index}] must be an object with 'role' and 'content'")
        turns.append(Message(turn["role"], _parse_content(turn.get("content"), f"messages[{index}].content")))
    if turns[-1].role != "user":
        raise InputError(
            f"the last of 'messages' is from {turns[-1].role!r}; the responses answer a 'user' turn",
            hint="Put candidate answers in 'responses', not in 'messages'.",
        )
    inside = any(isinstance(block, Media) for turn in turns for block in turn.blocks)
    if media and inside:
        raise InputError("media stand both in 'messages' and beside it; keep one of the two")
    first_user = next(index for index, turn in enumerate(turns) if turn.role == "user")
    turns[first_user] = Message("user", (*media, *turns[first_user].blocks))
    return tuple(turns)


def _parse_content(raw: Any, field_name: str) -> tuple[str | Media, ...]:
    """A turn's content: a text, or a list of text, image and video blocks in the spellings in use."""
    if isinstance(raw, str):
        return (raw,)
    if not isinstance(raw, list):
        raise InputError(f"{field_name} must be a text or a list of blocks, found {_kind(raw)}")
    blocks: list[str | Media] = []
    for index, block in enumerate(raw):
        where = f"{field_name}[{index}]"
        if isinstance(block, str):
            blocks.append(block)
            continue
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text" and isinstance(block.get("text"), str):
            blocks.append(block["text"])
        elif kind in ("image", "image_url", "video", "video_url"):
            blocks.append(_parse_medium(_block_source(block, kind), kind.removesuffix("_url"), where))
        else:
            raise InputError(f"{where} is no text, image or video block")
    return tuple(blocks)


def _block_source(block: Mapping[str, Any], kind: str) -> Any:
    value = next((block[key] for key in (kind, "url", "path") if key in block), None)
    return value.get("url") if kind.endswith("_url") and isinstance(value, dict) else value


def _parse_media(record: Mapping[str, Any]) -> tuple[Media, ...]:
    media: list[Media] = []
    for kind, keys in (("image", IMAGE_KEYS), ("video", VIDEO_KEYS)):
        key, raw = _one_of(record, keys)
        if key is None:
            continue
        items = raw if isinstance(raw, list) else [raw]
        media += [_parse_medium(item, kind, key) for item in items]
    return tuple(media)


def _parse_medium(raw: Any, kind: str, field_name: str) -> Media:
    """A source text, a picture in memory, or `{"frames": FOLDER, "seconds_per_frame": S}`."""
    if isinstance(raw, dict) and kind == "video" and isinstance(raw.get("frames"), str):
        seconds = raw.get("seconds_per_frame")
        if seconds is not None and (
            not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds <= 0
        ):
            raise InputError(f"seconds_per_frame in {field_name!r} must be a positive number of seconds")
        return Media("frames", raw["frames"], None if seconds is None else float(seconds))
    if isinstance(raw, (str, os.PathLike)):
        source = os.fspath(raw)
        if isinstance(source, str) and source:
            return Media("image" if kind == "image" else "video", source)
    elif kind == "image" and hasattr(raw, "convert"):  # a PIL picture; PIL itself is not imported here
        return Media("image", raw)
    raise InputError(
        f"{field_name!r} must name a {'picture' if kind == 'image' else 'clip'}, found {_kind(raw)}"
    )


def _one_of(record: Mapping[str, Any], keys: Sequence[str]) -> tuple[str | None, Any]:
    """The one key of several spellings that the line uses; null counts as absent."""
    present = [key for key in keys if record.get(key) is not None]
    if len(present) > 1:
        raise InputError(f"the line has both {present[0]!r} and {present[1]!r}; keep one of the two")
    return (present[0], record[present[0]]) if present else (None, None)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    if value == [] and isinstance(value, list):
        return "an empty list"
    return names.get(
        type(value), f"the {'number' if isinstance(value, (int, float)) else 'value'} {value!r}"[:60]
    )
