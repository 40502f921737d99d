"""A trainer's rows -> prompts and texts, by the same parser as a line of JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError, YojError, errors_at
from yoj_cli.groups import Group, Media
from yoj_cli.records.parse import parse
from yoj_cli.records.turns import IMAGE_KEYS, SPACING_KEYS, VIDEO_KEYS, kind_of

MEDIA_BLOCKS = ("image", "image_url", "video", "video_url")
ROWS = ("prompts", "completions", "completion_ids")


@dataclass(frozen=True, slots=True)
class Row:
    """One completion and what it answers.

    Attributes:
        prompt: the conversation with its media, and no responses yet; an error where it cannot be used.
        key: tells prompts apart, by their texts and by what their media show; None where there is none.
        text: the completion; an error where it is no text.
        n_tokens: of the completion, in the trainer's tokens; None where they were not given.
    """

    prompt: Group | YojError
    key: bytes | None
    text: str | YojError
    n_tokens: int | None = None


def read_rows(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    columns: Mapping[str, Any],
    *,
    media_root: Path | None = None,
    where: str = "",
) -> list[Row]:
    """The rows of one call; what cannot be used is an error in its row.

    Args:
        prompts: (R,) texts, or conversations with or without their media in the blocks.
        completions: (R,) texts, or conversations of one assistant's turn.
        columns: of (R,) values; "image", "images", "video", "videos" and the spacing of frames are read, as in a line.
            Media beside the turns count only where the turns hold none: TRL puts them there, and gives them twice.
        where: what errors call the batch; which rows they are about is for the caller to say.
    Raises:
        InputError: there are not as many prompts as completions; or a column that is read has no value for each row.
    """
    n = len(prompts)
    if n != len(completions):
        raise InputError(f"{n} prompts for {len(completions)} completions", where=where)
    ids = _column("completion_ids", columns.get("completion_ids"), n, where)
    known = {
        name: _column(name, columns[name], n, where)
        for name in (*IMAGE_KEYS, *VIDEO_KEYS, *SPACING_KEYS)
        if columns.get(name) is not None
    }
    digests: dict[int, bytes | Exception] = {}
    rows = []
    for i in range(n):
        beside = {name: each[i] for name, each in known.items()}
        prompt, key = _read_prompt(prompts[i], beside, media_root, where, digests)
        text = _read_text(completions[i], where)
        n_tokens = None if ids is None else _count(ids[i], where)
        rows.append(Row(prompt, key, text, n_tokens))
    return rows


def _column(name: str, values: Any, n: int, where: str) -> Any:
    """A column as it came: a picture that is in none would be left out of the prompt.

    Raises:
        InputError: it has no value for each row.
    """
    if values is None or (isinstance(values, Sequence) and not isinstance(values, str) and len(values) == n):
        return values
    if hasattr(values, "__array__") and len(values) == n and name in (*IMAGE_KEYS, *VIDEO_KEYS):
        return list(values)  # NumPy's, of objects or of pixels
    found = f"{len(values)} values" if isinstance(values, Sequence) else kind_of(values)
    raise InputError(
        f"{name!r} must be a list with a value for each of the {n} rows, found {found}", where=where
    )


def _count(ids: Any, where: str) -> int | None:
    if ids is not None and not hasattr(ids, "__len__"):
        raise InputError(f"'completion_ids' must have a list for each row, found {kind_of(ids)}", where=where)
    return None if ids is None else len(ids)


def _read_prompt(
    prompt: Any,
    beside: Mapping[str, Any],
    media_root: Path | None,
    where: str,
    digests: dict[int, bytes | Exception],
) -> tuple[Group | YojError, bytes | None]:
    try:
        with errors_at(where):
            record: dict[str, Any] = {"prompt": _with_sources(prompt), "responses": [""]}
            if not _shows_media(prompt):
                shown = {name: _sources_of(value) for name, value in beside.items()}
                record |= {name: value for name, value in shown.items() if not _is_nothing(value)}
            group = parse(record, where=where, media_root=media_root)
            return group, _key_of(group, digests)
    except YojError as error:
        return error, None


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, list) and not value)


def _shows_media(prompt: Any) -> bool:
    """Whether a block of the conversation holds its picture or clip, and is not a mere place for one."""
    if not isinstance(prompt, list):
        return False
    blocks = [
        block
        for turn in prompt
        if isinstance(turn, Mapping) and isinstance(turn.get("content"), list)
        for block in turn["content"]
    ]
    return any(
        isinstance(block, Mapping)
        and block.get("type") in MEDIA_BLOCKS
        and any(block.get(key) is not None for key in (block["type"], "url", "path"))
        for block in blocks
    )


def _with_sources(prompt: Any) -> Any:
    """The conversation with the bytes of its pictures as data: URLs."""
    if not isinstance(prompt, list):
        return prompt
    return [
        {**turn, "content": [_with_source(block) for block in turn["content"]]}
        if isinstance(turn, Mapping) and isinstance(turn.get("content"), list)
        else turn
        for turn in prompt
    ]


def _with_source(block: Any) -> Any:
    if not isinstance(block, Mapping) or block.get("type") not in MEDIA_BLOCKS:
        return block
    return {name: _source_of(value) for name, value in block.items()}


def _sources_of(value: Any) -> Any:
    return [_source_of(item) for item in value] if isinstance(value, (list, tuple)) else _source_of(value)


def _source_of(value: Any) -> Any:
    """A picture as data sets keep it undecoded, `{"bytes", "path"}`, as a data: URL or a path; all else as it is."""
    if not isinstance(value, Mapping) or "bytes" not in value:
        return value
    if value["bytes"] is None:
        return value.get("path")
    if not isinstance(value["bytes"], (bytes, bytearray, memoryview)):
        raise InputError(f"the 'bytes' of a picture or clip must be bytes, found {kind_of(value['bytes'])}")
    data = base64.b64encode(value["bytes"]).decode("ascii")
    return f"data:application/octet-stream;base64,{data}"


def _key_of(group: Group, digests: dict[int, bytes | Exception]) -> bytes:
    digest = blake2b(digest_size=16)
    for turn in group.messages:
        digest.update(f"\0turn {turn.role}".encode())
        for block in turn.blocks:
            if isinstance(block, Media):
                digest.update(f"\0{block.kind} ".encode() + _digest_of(block, digests))
            else:
                digest.update(b"\0text " + block.encode(errors="surrogatepass"))
    return digest.digest()


def _digest_of(media: Media, digests: dict[int, bytes | Exception]) -> bytes:
    """A picture in memory by its pixels, all others by where they are; a trainer repeats the same object in a group."""
    source = media.source
    if isinstance(source, str):
        return blake2b((media.path or source).encode(errors="surrogatepass"), digest_size=16).digest()
    if id(source) not in digests:
        try:
            start = f"{source.mode} {source.size} ".encode()
            digests[id(source)] = blake2b(start + source.tobytes(), digest_size=16).digest()
        except Exception as error:  # Pillow gives what it has of a broken picture when it is asked again
            digests[id(source)] = error
    found = digests[id(source)]
    if isinstance(found, Exception):
        raise InputError(f"the picture cannot be decoded: {found}") from found
    return found


def _read_text(completion: Any, where: str) -> str | YojError:
    try:
        with errors_at(where):
            return _text_of(completion)
    except YojError as error:
        return error


def _text_of(completion: Any) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, list) and len(completion) == 1 and isinstance(completion[0], Mapping):
        found = parse({"prompt": "", "responses": [[dict(completion[0])]]})
        return found.responses[0]
    if isinstance(completion, list) and len(completion) > 1:
        raise InputError(
            f"the completion has {len(completion)} turns, and a judge reads one",
            hint="Give the reward the turn that is to be judged.",
        )
    raise InputError(f"the completion is no text, found {kind_of(completion)}")
