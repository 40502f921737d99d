"""What a processor's files make of a picture or a text, before it is made: a stranger's could ask for any size."""

from __future__ import annotations

import base64
import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoj_cli.errors import CheckpointError
from yoj_cli.storage.files import read_json
from yoj_cli.storage.names import TOKENIZER, VOCABULARY

MAX_SHOWN_PIXELS = 1 << 25
"""That a picture is scaled to, all its crops together: 400 MB of float32. Molmo2's own are 1.3 M."""
MAX_FRAME_PIXELS = 1 << 22
"""The same of a frame of a clip."""
MAX_PICTURE_TOKENS = 1 << 17
"""Of the largest picture that is read (89 M pixels); Qwen3-VL, with its upper limit taken away, has 87,381."""
LARGEST_PICTURE_PIXELS = 89_478_485

FACTORS = ("patch_size", "merge_size", "pooling_size", "temporal_patch_size", "max_crops")
LARGEST_FACTOR = 4096

MAX_GROWTH = 64
"""How many times as long a tokenizer's normalizer may make a text; those that are known make it hardly longer."""

MAX_TOKEN_ID = 1 << 22
"""The largest vocabularies have a million tokens. The library lists the ids below the highest one that no token has,
with one of 2**31 in 8 GB."""


def check_processor_sizes(processor: Any, folder: Path) -> None:
    """Refuse sizes by which any small picture would become a huge one.

    Args:
        processor: of a family that reads media.
        folder: its files, for errors.
    Raises:
        CheckpointError: naming the number.
    """
    for kind, most in (("image_processor", MAX_SHOWN_PIXELS), ("video_processor", MAX_FRAME_PIXELS)):
        said = getattr(processor, kind).to_dict()
        _check_factors(said, kind, folder)
        smallest, largest = _shown_pixels(said, kind, folder)
        if smallest > most:
            raise CheckpointError(
                f"the {kind} scales any picture to {smallest:,} pixels, and the limit is {most:,}",
                where=str(folder),
            )
        side = (
            _first(said.get("patch_size")) * _first(said.get("merge_size")) * _first(said.get("pooling_size"))
        )
        n_tokens = min(largest, LARGEST_PICTURE_PIXELS) // side**2
        if n_tokens > MAX_PICTURE_TOKENS:
            raise CheckpointError(
                f"the {kind} makes {n_tokens:,} tokens of a picture, and the limit is {MAX_PICTURE_TOKENS:,}",
                where=str(folder),
            )


def _check_factors(said: Mapping[str, Any], kind: str, folder: Path) -> None:
    for key in FACTORS:
        value = said.get(key)
        values = value if isinstance(value, (list, tuple)) else [value]
        is_right = values and all(
            isinstance(each, int) and not isinstance(each, bool) and 0 < each <= LARGEST_FACTOR
            for each in values
        )
        if value is not None and not is_right:
            raise CheckpointError(
                f"{key} of the {kind} is {reprlib.repr(value)}, not a whole number from 1 to {LARGEST_FACTOR:,}",
                where=str(folder),
            )


def _shown_pixels(said: Mapping[str, Any], kind: str, folder: Path) -> tuple[int, int]:
    """What the smallest and the largest picture are scaled to."""
    size = said.get("size")
    size = size if isinstance(size, Mapping) else {}
    numbers = {key: value for key, value in size.items() if value is not None}
    if not all(
        isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in numbers.values()
    ):
        raise CheckpointError(f"size of the {kind} is {dict(numbers)!r}, which is none", where=str(folder))
    crops = 1 + (_first(said["max_crops"]) if said.get("max_crops") else 0)  # one of the whole
    if "height" in numbers and "width" in numbers:
        shown = crops * numbers["height"] * numbers["width"]
        return shown, shown
    return numbers.get("shortest_edge", 1), numbers.get("longest_edge", LARGEST_PICTURE_PIXELS)


def _first(value: Any) -> int:
    """A factor; the smaller one of two."""
    return min(value) if isinstance(value, (list, tuple)) else int(value or 1)


def read_added_ids(folder: Path) -> dict[str, set[int]]:
    """The ids that `tokenizer.json` gives to added tokens, after what the library must not read is refused.

    It ends the process, instead of raising an error, where memory fails it, and where the error that it would raise
    quotes half a character.

    Raises:
        CheckpointError: an id that no vocabulary has, merges of words' continuations that are none, or dropout.
    """
    path, older = folder / TOKENIZER, folder / VOCABULARY
    raw = read_json(path) if path.exists() else {}
    model = raw.get("model")
    model = model if isinstance(model, dict) else {}
    _check_ids(model.get("vocab"), path)
    _check_ids(read_json(older) if older.exists() else {}, older)
    _check_continuations(model, path)
    if model.get("dropout"):
        raise CheckpointError(
            "its dropout cuts a text in another way each time, and so no score would come twice",
            where=str(path),
        )
    listed = raw.get("added_tokens")
    added = [
        (each["content"], each["id"])
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and isinstance(each.get("content"), str) and isinstance(each.get("id"), int)
    ]
    found: dict[str, set[int]] = {}
    for content, token_id in added:
        found.setdefault(content, set()).add(token_id)
    return found


def _check_ids(vocabulary: Any, path: Path) -> None:
    ids = vocabulary.values() if isinstance(vocabulary, dict) else ()
    highest = max((each for each in ids if isinstance(each, int)), default=0)
    if highest > MAX_TOKEN_ID:
        raise CheckpointError(
            f"a token has the id {highest:,}, and the limit is {MAX_TOKEN_ID:,}", where=str(path)
        )


def _check_continuations(model: Mapping[str, Any], path: Path) -> None:
    """Refuse merges whose second half lacks the prefix of continuations, of which the library cuts it off unseen."""
    prefix, merges = model.get("continuing_subword_prefix"), model.get("merges")
    if not prefix or not isinstance(prefix, str) or not isinstance(merges, list):
        return
    for merge in merges:
        halves = merge.split(" ") if isinstance(merge, str) else merge
        second = halves[-1] if isinstance(halves, list) and halves else None
        if not prefix.isascii() or not isinstance(second, str) or not second.startswith(prefix):
            raise CheckpointError(
                f"the merge {reprlib.repr(merge)} is of no continuation, which starts with {reprlib.repr(prefix)}",
                where=str(path),
            )


def check_added_ids(tokenizer: Any, stated: Mapping[str, set[int]], folder: Path) -> None:
    """Refuse a tokenizer whose tokens get other ids than its file says: the library counts on where some are missing.

    Args:
        stated: of `read_added_ids`.
        folder: its files, for errors.
    Raises:
        CheckpointError: naming the first token.
    """
    for content, ids in stated.items():
        given = tokenizer.backend_tokenizer.token_to_id(content)
        if given not in ids:
            raise CheckpointError(
                f"the token {reprlib.repr(content)} gets the id {given}, and the file says {min(ids)}: "
                "tokens are missing, or have each other's ids",
                where=str(folder / TOKENIZER),
            )


def check_normalizer(tokenizer: Any, folder: Path) -> None:
    """Refuse replacements by which a short text would fill the memory.

    Args:
        tokenizer: with a `backend_tokenizer`.
        folder: its files, for errors.
    Raises:
        CheckpointError: it makes texts too long.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None and _growth(json.loads(normalizer.__getstate__())) > MAX_GROWTH:
        raise CheckpointError(
            f"its normalizer may make a text more than {MAX_GROWTH} times as long",
            where=str(folder / TOKENIZER),
        )


def _growth(step: Mapping[str, Any]) -> float:
    """How many times as long a text may become, of a normalizer or one of its steps."""
    if step["type"] == "Sequence":
        return math.prod(map(_growth, step["normalizers"]))
    if step["type"] == "Prepend":
        return 1 + len(step["prepend"])
    if step["type"] == "Replace":
        replaced = step["pattern"].get("String", "x")  # a regular expression may match one character, or none
        return max(1.0, len(step["content"]) / max(1, len(replaced)))
    if (
        step["type"] == "Precompiled"
    ):  # sentencepiece's: the bytes of an index, its entries, and what they stand for
        table = base64.b64decode(step["precompiled_charsmap"])
        entries = table[4 + int.from_bytes(table[:4], "little") :]
        return max(1, *map(len, entries.split(b"\0")))
    return 1.0
