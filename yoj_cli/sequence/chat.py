"""A group's conversation through the checkpoint's chat template, without letting its texts be parsed.

The template is rendered with placeholders (slots) for the group's texts. The result is split at special tokens, and
only then are the texts put in: a prompt cannot forge a chat marker, and cannot break the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from yoj_cli.config.judge import Role
from yoj_cli.errors import CheckpointError, InputError, ModelError
from yoj_cli.groups import Group, Media, check_role
from yoj_cli.sequence.template_process import TemplateRefusedError, start_template
from yoj_cli.sequence.tokens import SpecialTokens
from yoj_cli.storage.names import CHAT_TEMPLATE

# Private-use characters: no template trims or changes them.
_SLOT = re.compile("\ue000(\\d+)\ue001")
_RESPONSES = "\ue0000\ue001"  # slot 0
_BELOW_PROMPT = "\n\n"

_NOBODY = "\ue002"
"""A role that no template knows."""

Segments = list["int | str"]
"""Ids of special tokens, and the plain texts between them; no two texts follow each other."""

Turns: TypeAlias = "Sequence[tuple[str, list[str | None]]]"
"""Roles, each with its blocks: slots for texts, None for a picture or clip."""


class ChatTemplate:
    """A checkpoint's chat template, and which roles it shows as what they are.

    Many templates know the user and take every other turn for the assistant's, without a word. So a turn of
    another role counts as shown only where the template renders it otherwise than the same turn of the user, of
    the assistant, and of a role that does not exist. That is found out once for each sequence of roles.

    Args:
        processor: has the template; a bare tokenizer for text-only families.
        takes_media: a turn is a list of blocks, as templates of families that read media want it, and no string.
        role: the turn that holds the responses.
        where: the checkpoint, for errors.
    Raises:
        CheckpointError: the template cannot even render a question and an answer.
    """

    def __init__(self, processor: Any, role: Role, *, takes_media: bool, where: str) -> None:
        self._takes_media = takes_media
        self._template = start_template(processor, where=where)
        self._written = lru_cache(maxsize=256)(self._write)
        self._problem = lru_cache(maxsize=256)(self._find_problem)
        plain = ("user", "assistant") if role == "assistant" else ("user",)
        own = Path(where) / CHAT_TEMPLATE
        where = str(own) if own.is_file() else where
        try:
            shown = self._render(plain)
        except InputError as error:
            raise CheckpointError(str(error), where=where) from error
        if any(shown.count(_slot(place)) != 1 for place in range(len(plain))):
            raise CheckpointError(
                "the chat template drops or repeats a part of the conversation", where=where
            )

    def apply(self, turns: Turns, media: Sequence[Media] = ()) -> str:
        """A conversation as the template writes it, with a placeholder for each picture and clip.

        Raises:
            InputError: the template refuses it.
        """
        kinds = tuple("image" if medium.kind == "image" else "video" for medium in media)
        found = self._written(tuple((role, tuple(blocks)) for role, blocks in turns), kinds)
        if isinstance(found, str):
            return found
        # An error of its own for each group: what is cached may be raised in several threads.
        raise InputError(f"the judge's chat template refuses the conversation: {found}") from found

    def _write(
        self, turns: tuple[tuple[str, tuple[str | None, ...]], ...], kinds: tuple[str, ...]
    ) -> str | TemplateRefusedError:
        """What the template writes; groups of one shape (roles, texts and media in their order) share it."""
        waiting = iter(kinds)
        messages: list[dict[str, Any]] = []
        for role, blocks in turns:
            content: Any = [
                {"type": next(waiting)} if block is None else {"type": "text", "text": block}
                for block in blocks
            ]
            if not self._takes_media:
                content = " ".join(block for block in blocks if block is not None)
            messages.append({"role": role, "content": content})
        try:
            return self._template.render(messages)
        except TemplateRefusedError as error:
            return error

    def check_roles(self, turns: Turns) -> None:
        """Refuse a turn that would be shown as another role's.

        Raises:
            InputError: with the name of the role.
        """
        roles = tuple(role for role, _ in turns)
        if set(roles) <= {"user", "assistant"}:
            return
        for place, role in enumerate(roles):
            check_role(role, f"messages[{place}]")
        if problem := self._problem(roles):
            raise InputError(problem, hint="Put its text into a turn of the user.")

    def _find_problem(self, roles: tuple[str, ...]) -> str:
        others = [place for place, role in enumerate(roles) if role not in ("user", "assistant")]
        names = ", ".join(dict.fromkeys(repr(roles[place]) for place in others))
        try:
            shown = self._render(roles)
        except InputError as error:
            plain = tuple(role for role in roles if role in ("user", "assistant"))
            is_theirs = self._renders(plain) is not None  # else it is said when the group itself is rendered
            reason = str(error.__cause__)
            return f"the judge's chat template takes no {names} turn here: {reason}" if is_theirs else ""
        seen = set()
        for place in others:
            surroundings = (min(place, 2), roles[max(place - 1, 0) : place + 2])
            if surroundings in seen:
                continue
            seen.add(surroundings)
            if _slot(place) not in shown:
                return f"the judge's chat template drops a {roles[place]!r} turn here"
            for other in ("user", "assistant", _NOBODY):
                if self._renders((*roles[:place], other, *roles[place + 1 :])) == shown:
                    taken_for = "an unknown role's" if other == _NOBODY else f"the {other}'s"
                    return f"the judge's chat template takes a {roles[place]!r} turn for {taken_for} here"
        return ""

    def _renders(self, roles: tuple[str, ...]) -> str | None:
        try:
            return self._render(roles)
        except InputError:
            return None

    def _render(self, roles: tuple[str, ...]) -> str:
        return self.apply([(role, [_slot(place)]) for place, role in enumerate(roles)])


def render(
    group: Group,
    role: Role,
    template: ChatTemplate,
    specials: SpecialTokens,
    expansions: Mapping[str, Sequence[str]],
) -> tuple[Segments, Segments]:
    """A group's conversation as segments: those before the responses and those after them.

    Args:
        role: "assistant" puts the responses in a turn of the assistant; "user" a blank line below the prompt,
            in the last turn of the user.
        expansions: for each media placeholder token, the tokens of the first, second, … medium of its kind.
    Returns:
        (before, after). `before` ends and `after` starts with a text, maybe empty, which is to be tokenized
        together with the responses beside it.
    Raises:
        InputError: the template refuses the conversation (roles that do not alternate, say), or a turn in it.
        ModelError: the template loses a part of the conversation.
    """
    texts = [""]  # slot 0 is the responses'
    turns: list[tuple[str, list[str | None]]] = []
    for turn in group.messages:
        blocks: list[str | None] = []
        for block in turn.blocks:
            blocks.append(_slot(len(texts)) if isinstance(block, str) else None)
            texts += [block] if isinstance(block, str) else []
        turns.append((turn.role, blocks))
    if role == "assistant":
        turns.append(("assistant", [_RESPONSES]))
    else:
        _append_below(turns[-1][1])
    template.check_roles(turns)
    return _split_at_slots(template.apply(turns, group.media), texts, specials, expansions)


def _append_below(blocks: list[str | None]) -> None:
    """Add the responses to a turn, a blank line below its last text."""
    if blocks and blocks[-1] is not None:
        blocks[-1] += _BELOW_PROMPT + _RESPONSES
    else:
        blocks.append(_RESPONSES)


def _slot(number: int) -> str:
    return f"\ue000{number}\ue001"


def _split_at_slots(
    rendered: str, texts: Sequence[str], specials: SpecialTokens, expansions: Mapping[str, Sequence[str]]
) -> tuple[Segments, Segments]:
    """A rendered conversation as segments, each text in its slot: those before the responses, and those after."""
    waiting = {token: iter(items) for token, items in expansions.items()}
    before: Segments = []
    after: Segments = [""]
    segments = before
    used: list[int] = []
    for index, piece in enumerate(_SLOT.split(rendered)):
        if index % 2 == 0:
            for part in _trusted(piece, specials, waiting):
                _append(segments, part)
            continue
        used.append(int(piece))
        if int(piece) == 0:
            _append(before, "")
            segments = after
        else:
            _append(segments, texts[int(piece)])
    if sorted(used) != list(range(len(texts))) or any(
        next(items, None) is not None for items in waiting.values()
    ):
        raise ModelError("the judge's chat template drops or repeats a part of the conversation")
    return before, after


def _trusted(text: str, specials: SpecialTokens, waiting: Mapping[str, Iterator[str]]) -> Iterator[int | str]:
    """The template's own text, each media placeholder replaced by the tokens of its picture or clip."""
    for part in specials.split(text):
        placeholder = specials.names[part] if isinstance(part, int) else ""
        if placeholder in waiting:
            shown = next(waiting[placeholder], None)
            if shown is None:
                raise ModelError("the judge's chat template repeats a picture or a clip")
            yield from specials.split(shown)
        else:
            yield part


def _append(segments: Segments, part: int | str) -> None:
    if isinstance(part, str) and segments and isinstance(segments[-1], str):
        segments[-1] += part
    else:
        segments.append(part)
