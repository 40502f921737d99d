"""How many tokens a text has at least, found out in a moment: 100 MB are not tokenized in order to be refused.

Two bounds, and neither refuses what fits:

- A token that covers a byte is no longer than the longest token of the vocabulary that holds this byte. So a text has
  at least as many tokens as its bytes give, each counted as one over that length.
- Text is cut into words before it is tokenized, from left to right. So the words at the beginning of a text are words
  of the whole, but for the last ones, where the beginning was cut off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHARS_PER_TOKEN = 6
"""Texts of fewer characters, for each token that is allowed, are simply tokenized: prose has 4 to 5 a token."""

CHARS_OF_ANY_TOKEN = 128
"""What a token is taken to cover at most, where the kind of tokenizer (of whole words, say) sets no bound."""

CHUNK_CHARS = 1 << 17
SEAM_CHARS = 256
"""So far from where a text was cut, nothing of the cut is seen: no added token or composed character is that long."""

KEEPING = {"ByteLevel", "Digits", "Metaspace", "Punctuation", "Split"}
"""Pre-tokenizers that drop nothing, unless they are told to."""


class TextBound:
    """Says of a text that it has more tokens than are allowed, without tokenizing all of it.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._n_chars = CHARS_PER_TOKEN * max_tokens + SEAM_CHARS

    def is_long(self, text: str) -> bool:
        """Whether a text is long enough to be looked at before it is tokenized."""
        return len(text) > self._n_chars

    def is_exceeded(self, text: str) -> bool:
        """Whether a text has more tokens for certain."""
        weights = self._tokens_a_byte
        if weights is None:
            return len(text) > CHARS_OF_ANY_TOKEN * self._max_tokens
        n_tokens = 0.0
        for chunk in self._chunks(text):
            counts = np.bincount(np.frombuffer(chunk, np.uint8), minlength=256)
            n_tokens += max(0.0, float(counts @ weights) - SEAM_CHARS * float(weights.max()))
            if n_tokens > self._max_tokens:
                return True
        return self.beginning(text) is not None

    def beginning(self, text: str) -> str | None:
        """The beginning of a long text, if the tokens that it shares with the whole are more than are allowed."""
        if self._tokens_a_byte is None:
            return None
        found = self._tokenizer.encode(text[: self._n_chars], add_special_tokens=False)
        last = self._n_chars - SEAM_CHARS
        words = zip(found.word_ids, found.offsets, strict=True)
        cut = next((word for word, (_, stop) in words if stop > last), 0)
        n_shared = sum(word < cut - 1 for word in found.word_ids)
        return text[: self._n_chars] if n_shared > self._max_tokens else None

    def _chunks(self, text: str) -> Iterator[bytes]:
        """The text as the tokenizer's normalizer leaves it."""
        normalizer = self._tokenizer.normalizer
        for start in range(0, len(text), CHUNK_CHARS):
            chunk = text[start : start + CHUNK_CHARS]
            yield (chunk if normalizer is None else normalizer.normalize_str(chunk)).encode()

    @cached_property
    def _tokens_a_byte(self) -> NDArray[np.float64] | None:
        """(256,) one over the bytes of the longest token that holds each byte; None where that bounds nothing."""
        model, added = self._tokenizer.model, self._tokenizer.get_added_tokens_decoder().values()
        kinds = set(_kinds(self._tokenizer.pre_tokenizer))
        if type(model).__name__ != "BPE" or not kinds <= KEEPING:
            return None
        is_byte_level = "ByteLevel" in kinds
        is_lossless = is_byte_level or model.byte_fallback or (model.unk_token and not model.fuse_unk)
        absorbs = any((token.lstrip or token.rstrip) and not token.special for token in added)
        if not is_lossless or absorbs:
            return None
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        to_byte = _bytes_of_chars() if is_byte_level else {}
        # A character that is unknown may be one token, of up to four bytes.
        longest = [0 if is_byte_level else 4] * 256
        tokens = [
            *(_held(token, to_byte) for token in vocabulary),
            *(token.content.encode() for token in added if not token.special),
        ]
        for token in tokens:
            for byte in set(token):
                longest[byte] = max(longest[byte], len(token))
        for char, byte in to_byte.items():
            if char not in vocabulary:  # such a byte is dropped
                longest[byte] = 0
        return np.array([1 / length if length else 0.0 for length in longest])


def _held(token: str, to_byte: dict[str, int]) -> bytes:
    """The bytes that a token of the vocabulary covers at most; Metaspace's sign may stand for a space."""
    if to_byte:
        return bytes(to_byte.get(char, 0) for char in token)
    return token.encode() + b" " * ("\u2581" in token)


def _kinds(pre_tokenizer: Any) -> Iterator[str]:
    """The kinds of a pre-tokenizer and those within; "removes" for one that drops text."""
    waiting = [] if pre_tokenizer is None else [json.loads(pre_tokenizer.__getstate__())]
    while waiting:
        each = waiting.pop()
        waiting += each.get("pretokenizers", [])
        if each["type"] != "Sequence":
            yield "removes" if each.get("behavior") == "Removed" else each["type"]


def _bytes_of_chars() -> dict[str, int]:
    """What each character of a byte-level vocabulary stands for (GPT-2's table): printable bytes for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
