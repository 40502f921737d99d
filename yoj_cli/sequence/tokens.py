"""Tokenizing: special tokens only where we put them, and plain text everywhere else.

A response that contains the characters `<|im_end|>` or the separator is just a text with these characters:
only trusted text (the chat template's, a picture's placeholder) may turn into special tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoj_cli.errors import CheckpointError, InputError, TooLongError, UsageError, first_few
from yoj_cli.model.tokenizer_claims import read_added_ids
from yoj_cli.sequence.template_process import TemplateRefusedError, start_template
from yoj_cli.sequence.text_bound import TextBound
from yoj_cli.storage.files import is_failure, translate_load_errors
from yoj_cli.storage.names import DEFAULT_SEPARATOR, SEPARATOR_TOKEN


def register_separator(tokenizer: Any, separator: str) -> int | None:
    """Make the separator's token special where the tokenizer does not know it, at the next free id.

    That is what the official code does after loading (`add_resp_sep_token` of mr2rm/data/dataset.py in
    github.com/yinuoyang01/multi-response-rm); a merged folder may have the base's tokenizer, without it. Whether
    the embedding has a row of that id is another question: see `model/embedding.py`.

    Args:
        separator: the text between two responses.
    Returns:
        The id that was registered, None where there was nothing to do.
    """
    if separator.count(SEPARATOR_TOKEN) != 1 or SpecialTokens(tokenizer).knows(SEPARATOR_TOKEN):
        return None
    return _add_special(tokenizer, SEPARATOR_TOKEN)


def use_as_separator(processor: Any, token: str, *, where: str) -> str:
    """The separator's text with a token of the vocabulary that nothing else uses.

    Args:
        token: its text ("<|reserved_special_token_0|>"); made special where it is an ordinary one ("<unused0>").
        where: the option it was given with, for errors.
    Raises:
        UsageError: there is no such token, it has a meaning already, or a response's text could turn into it.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    known = tokenizer.get_vocab()
    if token not in known:
        raise UsageError(
            f"{token!r} is not one token of the base's tokenizer",
            where=where,
            hint=_spare_tokens(tokenizer)
            or "Leave the option out: the separator then gets an embedding row of its own.",
        )
    media = [getattr(processor, name, None) for name in ("image_token", "video_token", "audio_token")]
    named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token, *media)
    if token in named or any(token in text for text in _template_texts(processor, tokenizer)):
        raise UsageError(
            f"{token!r} has a meaning to the base already: its chat template or its tokenizer uses it",
            where=where,
            hint=_spare_tokens(tokenizer) or "Give a token that nothing uses.",
        )
    if not SpecialTokens(tokenizer).knows(token):
        _add_special(tokenizer, token)
    if known[token] in TextEncoder(tokenizer).encode(f"a {token}{token} b", name="the separator"):
        raise UsageError(
            f"the text of a response could turn into {token!r}, and so into a separator",
            where=where,
            hint=_spare_tokens(tokenizer) or "Give a special token.",
        )
    return DEFAULT_SEPARATOR.replace(SEPARATOR_TOKEN, token)


def _template_texts(processor: Any, tokenizer: Any) -> Iterator[str]:
    """The chat template, and what it writes around a conversation: it may put its tokens together from parts."""
    yield f"{getattr(processor, 'chat_template', None)} {tokenizer.chat_template}"
    template = start_template(processor, where=str(getattr(tokenizer, "name_or_path", "")))
    for roles in (("user", "assistant"), ("system", "user", "assistant")):
        content: Any = "a" if processor is tokenizer else [{"type": "text", "text": "a"}]
        messages = [{"role": role, "content": content} for role in roles]
        with suppress(TemplateRefusedError):  # it need not know every role
            yield template.render(messages)


def _add_special(tokenizer: Any, token: str) -> int:
    # Positional: the argument (whether other special tokens are replaced) has another name in other versions.
    tokenizer.add_special_tokens({"additional_special_tokens": [token]}, False)
    return int(tokenizer.convert_tokens_to_ids(token))


def _spare_tokens(tokenizer: Any) -> str:
    """A hint with tokens that look as if they were left unused; empty where there are none."""
    added = sorted(tokenizer.added_tokens_decoder.items())
    spare = [str(token) for _, token in added if re.search("reserved|unused", str(token), re.IGNORECASE)]
    return f"Tokens that look unused: {first_few(spare)}." if spare else ""


def unregistered_separator(folder: Path, separator: str) -> int | None:
    """The id at which a folder's tokenizer would get its separator, None where it has it.

    Raises:
        CheckpointError: the tokenizer cannot be read.
    """
    from transformers import AutoTokenizer

    read_added_ids(folder)
    with translate_load_errors("the tokenizer", folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return register_separator(tokenizer, separator)


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

    def knows(self, token: str) -> bool:
        """Whether a text is one special token."""
        return token in self._ids

    def split(self, text: str) -> list[int | str]:
        """The text as ids of special tokens and the plain text between them, in order."""
        parts: list[str] = self._pattern.split(text) if self._pattern else [text]
        return [self._ids.get(part, part) for part in parts if part]


class TextEncoder:
    """Encodes untrusted text; characters that spell a special token stay characters.

    It has a copy of the tokenizer: the option that does this is set on the tokenizer and not for a call, so that
    threads that shared one would race.

    Args:
        max_tokens: a text that is sure to have more is refused before it is tokenized; None for no limit.
        truncate: of such a text only the beginning is tokenized, with more tokens than `max_tokens`.
        can_raise: whether the limit is one of ours (--max-tokens), and could be higher.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int | None = None,
        *,
        truncate: bool = False,
        can_raise: bool = True,
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._bound = None if max_tokens is None else TextBound(self._tokenizer, max_tokens)
        self._max_tokens, self._truncate, self._can_raise = max_tokens or 0, truncate, can_raise

    def encode(self, text: str, *, name: str) -> list[int]:
        """Token ids of a text; see `encode_after`."""
        return self.encode_after("", text, name=name)[0]

    def encode_after(self, left: str, text: str, *, name: str) -> tuple[list[int], int]:
        """Token ids of two texts tokenized as one, and how many of the ids belong to the first alone.

        Args:
            name: what an error calls them ("responses[1]").
        Raises:
            InputError: they hold half of a surrogate pair, which no encoding has bytes for, or the tokenizer does
                not take them.
            TooLongError: they have more tokens than the limit.
        """
        text = left + text
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{name} holds half of a surrogate pair ({text[error.start]!a}), which is no character",
                hint="The text was cut inside an emoji or decoded wrongly; repair it at its source.",
            ) from error
        if self._bound is not None and self._bound.is_long(text):
            text = self._shorten(text, self._bound, name)
        try:
            found = self._tokenizer.encode(text, add_special_tokens=False)
        except BaseException as error:  # tokenizers raises nothing more specific
            if not is_failure(error):
                raise
            raise InputError(f"the judge's tokenizer cannot read {name}: {error}") from error
        if not left:
            return list(found.ids), 0
        places = (index for index, (_, stop) in enumerate(found.offsets) if stop > len(left))
        return list(found.ids), next(places, len(found.ids))

    def _shorten(self, text: str, bound: TextBound, name: str) -> str:
        """A long text, which may fit all the same; or as much of it as has more tokens than the limit."""
        if not bound.is_exceeded(text):
            return text
        if self._truncate and (beginning := bound.beginning(text)) is not None:
            return beginning
        raise TooLongError(
            f"{name} has some {float(f'{len(text):.3g}'):,.0f} characters, more than {self._max_tokens:,} tokens",
            hint=f"{'Raise --max-tokens, or shorten' if self._can_raise else 'Shorten'} it.",
        )


@dataclass(frozen=True)
class Separator:
    """The separator between two responses: text, one special token, text."""

    before: str
    token_id: int
    after: str

    @classmethod
    def parse(cls, text: str, specials: SpecialTokens, *, where: str) -> Separator:
        """Find the special token in a separator text such as "\\n\\n<|resp_sep|>\\n\\n".

        Raises:
            CheckpointError: the text holds no special token of the tokenizer, or more than one, or half a character.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(
                f"the separator {text!r} holds half of a surrogate pair", where=where
            ) from error
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
