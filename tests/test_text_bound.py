"""A text that cannot fit is refused before it is tokenized, and no text that fits is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tests.conftest import PARITY
from yoj_cli.errors import TooLongError
from yoj_cli.scoring.judge import Judge
from yoj_cli.sequence.text_bound import CHARS_OF_ANY_TOKEN, TextBound
from yoj_cli.sequence.tokens import TextEncoder
from yoj_cli.storage.find import EMBEDDED

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level(*merged: str, normalizer: Any = None) -> Tokenizer:
    """Every byte, and tokens that are merged from left to right: "abc" from "ab" and "c"."""
    vocabulary = {char: at for at, char in enumerate(ALPHABET)}
    merges = []
    for token in merged:
        for n in range(2, len(token) + 1):
            if token[:n] not in vocabulary:
                vocabulary[token[:n]] = len(vocabulary)
                merges.append((token[: n - 1], token[n - 1]))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def test_a_text_is_refused_by_the_longest_tokens_that_hold_its_bytes() -> None:
    """24,000 z, which no longer token holds, and 24,000 a in tokens of two: 24,000 + 12,000 tokens."""
    text = "z" * 24_000 + "a" * 24_000
    tokenizer = byte_level("aa")
    assert len(tokenizer.encode(text).ids) == 36_000
    assert not TextBound(tokenizer, 36_000).is_exceeded(text)
    assert TextBound(tokenizer, 35_000).is_exceeded(text)  # a cut costs a little of what is sure


def test_words_at_the_beginning_are_counted_where_bytes_say_little() -> None:
    """ "ab" four times is one token, so that bytes say 1/8 each; these words are two tokens of one byte each."""
    tokenizer = byte_level("abababab")
    text = " b a" * 5_000
    n_tokens = len(tokenizer.encode(text).ids)
    assert n_tokens == 20_000
    assert TextBound(tokenizer, 2_700).is_exceeded(text)  # 8 x 2,700 characters or more say nothing of bytes
    assert not TextBound(tokenizer, n_tokens).is_exceeded(text)


@pytest.mark.parametrize("where", [EMBEDDED / "tokenizer.json", PARITY / "checkpoint" / "tokenizer.json"])
def test_no_text_that_fits_is_refused(where: Any) -> None:
    tokenizer, draw = Tokenizer.from_file(str(where)), random.Random(0)
    tokenizer.encode_special_tokens = True
    signs = ["e\u0301", "\u00e9", "\u4e00", "\U0001f600", "\u1112\u1161\u11ab"]
    pieces = [*signs, " ", "\n", "\t ", "the ", "a", "1", "=", "<|im_end|>", "'s"]
    for _ in range(40):
        kinds = draw.sample(pieces, draw.randint(1, 3))
        text = "".join(draw.choices(kinds, k=draw.randint(1, 3000)))
        n_tokens = len(tokenizer.encode(text, add_special_tokens=False).ids)
        assert not TextBound(tokenizer, n_tokens).is_exceeded(text)


def test_a_normalizer_that_shortens_a_text_is_asked_first() -> None:
    text = "e\u0301" * 40_000
    assert TextBound(byte_level(), 80_000).is_exceeded(
        text
    )  # e and the two bytes of the accent: 120,000 tokens
    assert not TextBound(byte_level(normalizer=normalizers.NFC()), 80_000).is_exceeded(text)  # two bytes each
    assert TextBound(byte_level(normalizer=normalizers.NFC()), 79_000).is_exceeded(text)


def test_an_added_token_may_be_longer_than_all_others() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("x" * 100)])
    text = "x" * 100_000
    assert not TextBound(tokenizer, len(tokenizer.encode(text).ids)).is_exceeded(text)


def test_a_tokenizer_of_whole_words_is_given_many_characters_a_token() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not TextBound(tokenizer, 10).is_exceeded("x" * 10 * CHARS_OF_ANY_TOKEN)
    assert TextBound(tokenizer, 10).is_exceeded("x" * (10 * CHARS_OF_ANY_TOKEN + 1))


def test_a_text_that_is_to_be_truncated_is_tokenized_as_far_as_it_is_needed() -> None:
    class Slow:
        backend_tokenizer = byte_level("ab")

    text = "ab cd " * 10_000
    whole = TextEncoder(Slow()).encode(text, name="")
    found = TextEncoder(Slow(), 500, truncate=True).encode(text, name="")
    assert 500 < len(found) < 5_000 < len(whole)
    assert found[:501] == whole[:501]
    with pytest.raises(
        TooLongError, match="responses\\[0\\] has some 60,000 characters, more than 500 tokens"
    ):
        TextEncoder(Slow(), 500).encode(text, name="responses[0]")


def test_a_group_that_is_too_long_already_is_not_tokenized_to_its_end() -> None:
    """Each response fits; the sixth of a thousand is over, and the rest is much."""
    judge = Judge.load(str(PARITY / "checkpoint"), device="cpu", max_tokens=500)
    with pytest.raises(
        TooLongError, match=r"the group is more than \d{3} tokens long, over the limit of 500"
    ):
        judge.score(prompt="q", responses=["abcde " * 20] * 1000)
    with pytest.raises(TooLongError, match="shorten the prompt"):
        judge.score(
            messages=[{"role": "user", "content": "abcde " * 20}, {"role": "assistant", "content": "x"}] * 300
            + [{"role": "user", "content": "y"}],
            responses=["a"],
        )
