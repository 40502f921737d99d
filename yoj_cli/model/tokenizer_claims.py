"""What a tokenizer's file claims, seen before the library reads it, and what it makes of that after."""

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

MAX_GROWTH = 64
"""How many times as long a tokenizer's normalizer may make a text; those that are known make it hardly longer."""

MAX_TOKEN_ID = 1 << 22
"""The largest vocabularies have a million tokens. The library lists the ids below the highest one that no token has,
with one of 2**31 in 8 GB."""


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
