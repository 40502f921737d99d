"""Text into token ids: special tokens where we put them, plain characters everywhere else.

A response that contains the characters `<|im_end|>` or the separator is just a text with these characters:
only trusted text (the chat template's, a picture's placeholder) may turn into special tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from yoj_cli.errors import CheckpointError, InputError


class SpecialTokens:
    """Finds a tokenizer's special tokens in trusted text."""

    def __init__(self, tokenizer: Any) -> None:
        known = tokenizer.added_tokens_decoder
        self.names: dict[int, str] = {index: str(token) for index, token in known.items() if token.special}
        self._ids = {name: index for index, name in self.names.items()}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = (
            re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None
        )

    def split(self, text: str) -> list[int | str]:
        """The text as ids of special tokens and the plain text between them, in order."""
        parts: list[str] = self._pattern.split(text) if self._pattern else [text]
        return [self._ids.get(part, part) for part in parts if part]


class TextEncoder:
    """Encodes untrusted text; characters that spell a special token stay characters.

    It holds a copy of the tokenizer, because the switch belongs to the tokenizer and not to the call: shared
    between threads, it would race.
    """

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, text: str, *, name: str) -> list[int]:
        """Token ids of a text; `name` is what an error calls it ("responses[1]").

        Raises:
            InputError: the text holds half of a surrogate pair, which no encoding has bytes for, or the tokenizer
                does not take it.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{name} holds half of a surrogate pair ({text[error.start]!a}), which is no character",
                hint="The text was cut inside an emoji or decoded wrongly; repair it at its source.",
            ) from error
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except Exception as error:  # tokenizers raises nothing more specific
            raise InputError(f"the judge's tokenizer cannot read {name}: {error}") from error


@dataclass(frozen=True)
class Separator:
    """What stands between two responses: text, one special token, text."""

    before: str
    token_id: int
    after: str

    @classmethod
    def parse(cls, text: str, specials: SpecialTokens, *, where: str) -> Separator:
        """Find the special token in a separator text such as "\\n\\n<|resp_sep|>\\n\\n".

        Raises:
            CheckpointError: the text holds no special token of the tokenizer, or more than one.
        """
        pieces = specials.split(text)
        ids = [piece for piece in pieces if isinstance(piece, int)]
        if len(ids) != 1:
            raise CheckpointError(
                f"the separator {text!r} must hold one special token of the tokenizer, found {len(ids)}",
                where=where,
                hint="The tokenizer files must come from the checkpoint: they register the separator.",
            )
        middle = pieces.index(ids[0])
        return cls("".join(map(str, pieces[:middle])), ids[0], "".join(map(str, pieces[middle + 1 :])))
