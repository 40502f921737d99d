"""A record's prompt or messages and its media -> the turns of a conversation.

Blocks are read in the spellings in use: OpenAI's ("image_url"), Hugging Face's ("image", "url", "path"), and
TRL's, where a bare {"type": "image"} stands for the next of the pictures beside the messages.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from yoj_cli.errors import InputError
from yoj_cli.groups import Media, MediaKind, Message, check_role

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT_KEYS = ("prompt", "question")
IMAGE_KEYS = ("image", "images")
VIDEO_KEYS = ("video", "videos")
SPACING_KEYS = ("sampling_interval", "fps")
"""Seconds between the frames of a folder in the official format, the first of them that is there.

Both are seconds: the released trainer takes "fps" for the interval too (mr2rm/data/dataset.py).
"""
DEFAULT_PROMPT = {"image": "Describe this image.", "video": "Describe this video."}


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """A block that shows the next picture or clip of those given beside the messages."""

    kind: MediaKind


Block = str | Media | _Placeholder
Turn = tuple[str, list[Block]]


def parse_conversation(record: Mapping[str, Any], before_responses: Any = None) -> tuple[Message, ...]:
    """The turns up to the responses, media in their places.

    Args:
        before_responses: the turns that stand in front of each response in TRL's conversational pairs; where
            the record has no prompt they are the conversation, else they have to repeat it.
    """
    return _space_frames(_parse_turns_and_media(record, before_responses), record)


def _parse_turns_and_media(record: Mapping[str, Any], before_responses: Any) -> tuple[Message, ...]:
    media = _parse_media(record)
    key, prompt = one_of(record, PROMPT_KEYS)
    messages = record.get("messages")
    if messages is not None and key is not None:
        raise InputError(f"the line has both 'messages' and {key!r}; keep one of the two")
    if messages is not None:
        turns = _parse_turns(messages, "messages")
    elif isinstance(prompt, list):  # TRL's conversational prompt
        turns = _parse_turns(prompt, "prompt")
    elif prompt is None and before_responses is not None:
        return _place(_parse_turns(before_responses, "turns"), media)
    else:
        turns = [("user", [_parse_prompt(key, prompt, media)])]
    if before_responses is not None and _texts(turns) != _texts(_parse_turns(before_responses, "turns")):
        raise InputError("the responses begin with other turns than the prompt; keep one of the two")
    return _place(turns, media)


def _parse_prompt(key: str | None, prompt: Any, media: Sequence[Media]) -> str:
    if prompt is None:
        if not media:
            raise InputError(
                "the line has no prompt", hint="Give 'prompt' (a text) or 'messages' (a conversation)."
            )
        return DEFAULT_PROMPT["image" if media[0].kind == "image" else "video"]
    if not isinstance(prompt, str):
        raise InputError(f"{key!r} must be a text, found {kind_of(prompt)}")
    return prompt


def _parse_turns(raw: Any, field_name: str) -> list[Turn]:
    if not isinstance(raw, list) or not raw:
        raise InputError(f"{field_name!r} must be a list of turns, found {kind_of(raw)}")
    turns: list[Turn] = []
    for index, turn in enumerate(raw):
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise InputError(f"{field_name}[{index}] must be an object with 'role' and 'content'")
        check_role(turn["role"], f"{field_name}[{index}]")
        turns.append((turn["role"], parse_content(turn.get("content"), f"{field_name}[{index}].content")))
    last_role = turns[-1][0]
    if last_role != "user":
        raise InputError(
            f"the last of {field_name!r} is from {last_role!r}; the responses answer a 'user' turn",
            hint=f"Put candidate answers in 'responses', not in {field_name!r}.",
        )
    return turns


def _texts(turns: Sequence[Turn]) -> list[tuple[str, list[str]]]:
    return [(role, [block for block in blocks if isinstance(block, str)]) for role, blocks in turns]


def _place(turns: Sequence[Turn], media: Sequence[Media]) -> tuple[Message, ...]:
    """Show the media given beside the turns: where the turns say so, else before the first user's text."""
    blocks = [block for _, blocks in turns for block in blocks]
    if media and any(isinstance(block, Media) for block in blocks):
        raise InputError("media stand both inside the turns and beside them; keep one of the two")
    if not any(isinstance(block, _Placeholder) for block in blocks):
        first_user = next(blocks for role, blocks in turns if role == "user")
        first_user[:0] = media
        media = ()
    waiting = list(media)
    messages = []
    for role, blocks in turns:
        shown = [_take(waiting, block.kind) if isinstance(block, _Placeholder) else block for block in blocks]
        messages.append(Message(role, tuple(shown)))
    if waiting:
        raise InputError(f"the turns do not show all media: {waiting[0].kind} {waiting[0].source} is left")
    return tuple(messages)


def _space_frames(messages: tuple[Message, ...], record: Mapping[str, Any]) -> tuple[Message, ...]:
    """Give the spacing that the record states to all that may turn out to be a folder of frames."""
    key = next((key for key in SPACING_KEYS if record.get(key) is not None), None)
    if key is None:
        return messages
    # What is no number matters only where there is a folder, and only loading tells.
    seconds = _parse_seconds(record[key])

    def space(block: str | Media) -> str | Media:
        if isinstance(block, str) or block.kind == "image":
            return block
        if block.seconds_per_frame not in (None, seconds):
            raise InputError(
                f"'seconds_per_frame' is {block.seconds_per_frame:g} and the line's {key!r} is {record[key]!r}",
                hint="Both are the seconds between two frames; keep one of the two.",
            )
        return replace(block, seconds_per_frame=seconds)

    return tuple(Message(turn.role, tuple(space(block) for block in turn.blocks)) for turn in messages)


def _parse_seconds(raw: Any) -> float:
    """A number, or a text that holds one, as the released trainer reads it; NaN for anything else."""
    try:
        return float(raw) if isinstance(raw, str) or is_number(raw) else math.nan
    except ValueError:
        return math.nan


def _take(waiting: list[Media], kind: MediaKind) -> Media:
    for place, medium in enumerate(waiting):
        if (medium.kind == "image") == (kind == "image"):
            return waiting.pop(place)
    raise InputError(
        f"the turns show more {kind}s than the line has",
        hint=f"Name each one in its block, or in '{kind}s' in the order shown.",
    )


def parse_text(raw: Any, field_name: str) -> str:
    """The text of a turn that has to be text alone."""
    blocks = parse_content(raw, field_name)
    texts = [block for block in blocks if isinstance(block, str)]
    if len(texts) < len(blocks):
        raise InputError(f"{field_name} must be text only")
    return " ".join(texts)


def parse_content(raw: Any, field_name: str) -> list[Block]:
    """A turn's content: a text, or a list of text, image and video blocks.

    Raises:
        InputError: it is neither, or a block is of another kind.
    """
    if isinstance(raw, str):
        return [raw]
    if not isinstance(raw, list):
        raise InputError(f"{field_name} must be a text or a list of blocks, found {kind_of(raw)}")
    return [_parse_block(block, f"{field_name}[{index}]") for index, block in enumerate(raw)]


def _parse_block(raw: Any, field_name: str) -> Block:
    if isinstance(raw, str):
        return raw
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind == "text" and isinstance(raw.get("text"), str):
        return str(raw["text"])
    if kind not in ("image", "image_url", "video", "video_url"):
        raise InputError(f"{field_name} is no text, image or video block")
    medium: MediaKind = "image" if kind.startswith("image") else "video"
    source = next((raw[key] for key in (kind, "url", "path") if raw.get(key) is not None), None)
    if kind.endswith("_url") and isinstance(source, dict):
        source = source.get("url")
    elif source is None and not kind.endswith("_url"):
        return _Placeholder(medium)
    return _parse_medium(source, medium, field_name)


def _parse_media(record: Mapping[str, Any]) -> tuple[Media, ...]:
    media: list[Media] = []
    kinds: tuple[tuple[MediaKind, tuple[str, ...]], ...] = (("image", IMAGE_KEYS), ("video", VIDEO_KEYS))
    for kind, keys in kinds:
        key, raw = one_of(record, keys)
        if key is not None:
            items = raw if isinstance(raw, list) else [raw]
            media += [_parse_medium(item, kind, key) for item in items]
    return tuple(media)


def _parse_medium(raw: Any, kind: MediaKind, field_name: str) -> Media:
    """A source text, a picture in memory, or `{"frames": FOLDER or a list of pictures, "seconds_per_frame": S}`."""
    if isinstance(raw, dict) and kind == "video" and isinstance(raw.get("frames"), (str, list)):
        return _parse_frames(raw, field_name)
    if isinstance(raw, (str, os.PathLike)):
        source = os.fspath(raw)
        if isinstance(source, str) and source:
            return Media(kind, source)
    elif kind == "image" and hasattr(raw, "convert"):  # a PIL picture; PIL itself is not imported here
        return Media("image", raw)
    elif kind == "image" and hasattr(raw, "__array_interface__"):
        return Media("image", _picture_of(raw, field_name))
    raise InputError(
        f"{field_name!r} must name a {'picture' if kind == 'image' else 'clip'}, found {kind_of(raw)}",
        hint="From Python a picture may be a path, a Pillow image or a numpy array."
        if hasattr(raw, "shape")
        else "",
    )


def _parse_frames(raw: Mapping[str, Any], field_name: str) -> Media:
    seconds, frames = raw.get("seconds_per_frame"), raw["frames"]
    if seconds is not None and not (is_number(seconds) and seconds > 0):
        raise InputError(f"seconds_per_frame in {field_name!r} must be a positive number of seconds")
    spacing_s = None if seconds is None else float(seconds)
    if isinstance(frames, str):
        return Media("frames", frames, spacing_s)
    if not frames:
        raise InputError(f"the list of frames in {field_name!r} is empty")
    shown = tuple(_parse_medium(each, "image", f"{field_name}.frames") for each in frames)
    return Media("frames", f"{len(shown)} frames", spacing_s, frames=shown)


def _picture_of(array: Any, field_name: str) -> Image:
    """A numpy array (H, W, 3) of uint8, RGB, as a Pillow picture; what any other array shows is a guess."""
    from PIL.Image import fromarray

    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape or array.dtype != "uint8":
        found = f"{array.shape} of {array.dtype}"
        raise InputError(
            f"an array in {field_name!r} must be (height, width, 3) of uint8 (RGB), found {found}",
            hint="Convert it, for instance by numpy.uint8(255 * x) and x.transpose(1, 2, 0); or give a Pillow image.",
        )
    return fromarray(array)


def one_of(record: Mapping[str, Any], keys: Iterable[str]) -> tuple[str | None, Any]:
    """The one key of several spellings that the line uses; null counts as absent."""
    present = [key for key in keys if record.get(key) is not None]
    if len(present) > 1:
        raise InputError(f"the line has both {present[0]!r} and {present[1]!r}; keep one of the two")
    return (present[0], record[present[0]]) if present else (None, None)


def is_number(value: Any) -> bool:
    """A finite number that a float can hold."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def kind_of(value: Any) -> str:
    """What a wrong value is, for an error message."""
    if isinstance(value, str) and not value:
        return "an empty text"
    if isinstance(value, list) and not value:
        return "an empty list"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        shown = repr(value)
        return f"the number {shown if len(shown) <= 30 else shown[:29] + '…'}"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
