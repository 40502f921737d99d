"""A group's conversation through the checkpoint's chat template, without letting its texts be parsed.

The template is rendered with stand-ins for the group's texts. What comes out is split at special tokens, and
only then do the texts take their places: a prompt cannot forge a chat marker, and cannot break the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from yoj_cli.errors import InputError, ModelError

if TYPE_CHECKING:
    from yoj_cli.config import Role
    from yoj_cli.inputs.records import Group
    from yoj_cli.judge.backbone import Backbone
    from yoj_cli.judge.tokens import SpecialTokens

# Private-use characters: a template's trimming and joining leaves them whole.
_SLOT = re.compile("\ue000(\\d+)\ue001")
_RESPONSES = "\ue0000\ue001"
_BELOW_PROMPT = "\n\n"

Runs = list["int | str"]
"""Ids of special tokens and runs of plain text between them; two texts never stand side by side."""


def render(
    group: Group,
    role: Role,
    backbone: Backbone,
    specials: SpecialTokens,
    expansions: Mapping[str, Sequence[str]],
) -> tuple[Runs, Runs]:
    """What stands before the responses and after them.

    Args:
        role: "assistant" puts the responses in a turn of the assistant; "user" a blank line below the prompt,
            in the last turn of the user.
        expansions: for each media placeholder token, what stands for the first, second, … of its kind.
    Returns:
        (before, after). `before` ends and `after` starts with a text, maybe empty, which is to be tokenized
        in one run with the responses beside it.
    Raises:
        InputError: the template refuses the conversation (roles that do not alternate, say).
        ModelError: the template loses a part of the conversation.
    """
    texts = [""]  # slot 0 is the responses'
    turns: list[tuple[str, list[str | None]]] = []
    for turn in group.messages:
        blocks: list[str | None] = []
        for block in turn.blocks:
            blocks.append(f"\ue000{len(texts)}\ue001" if isinstance(block, str) else None)
            texts += [block] if isinstance(block, str) else []
        turns.append((turn.role, blocks))
    if role == "assistant":
        turns.append(("assistant", [_RESPONSES]))
    else:
        _append_below(turns[-1][1])
    rendered = _apply_template(turns, group, backbone)
    before, after = _to_runs(rendered, texts, specials, expansions)
    if backbone.family.adds_bos:
        bos = backbone.tokenizer.bos_token_id or backbone.tokenizer.eos_token_id
        if before[0] != bos:
            before.insert(0, bos)
    return before, after


def _append_below(blocks: list[str | None]) -> None:
    """Add the responses to a turn, a blank line below its last text."""
    if blocks and blocks[-1] is not None:
        blocks[-1] += _BELOW_PROMPT + _RESPONSES
    else:
        blocks.append(_RESPONSES)


def _apply_template(turns: Sequence[tuple[str, list[str | None]]], group: Group, backbone: Backbone) -> str:
    from jinja2 import TemplateError

    kinds = iter(["image" if medium.kind == "image" else "video" for medium in group.media])
    messages: list[dict[str, Any]] = []
    for role, blocks in turns:
        content: Any = [
            {"type": next(kinds)} if block is None else {"type": "text", "text": block} for block in blocks
        ]
        if not backbone.family.reads_media:  # text-only templates take plain strings
            content = " ".join(block for block in blocks if block is not None)
        messages.append({"role": role, "content": content})
    try:
        return str(backbone.processor.apply_chat_template(messages, tokenize=False))
    except (TemplateError, ValueError) as error:
        raise InputError(f"the judge's chat template refuses the conversation: {error}") from error


def _to_runs(
    rendered: str, texts: Sequence[str], specials: SpecialTokens, expansions: Mapping[str, Sequence[str]]
) -> tuple[Runs, Runs]:
    waiting = {token: iter(items) for token, items in expansions.items()}
    before: Runs = []
    after: Runs = [""]
    runs = before
    used: list[int] = []
    for index, piece in enumerate(_SLOT.split(rendered)):
        if index % 2 == 0:
            for part in _trusted(piece, specials, waiting):
                _append(runs, part)
            continue
        used.append(int(piece))
        if int(piece) == 0:
            _append(before, "")
            runs = after
        else:
            _append(runs, texts[int(piece)])
    if sorted(used) != list(range(len(texts))) or any(
        next(items, None) is not None for items in waiting.values()
    ):
        raise ModelError("the judge's chat template drops or repeats a part of the conversation")
    return before, after


def _trusted(text: str, specials: SpecialTokens, waiting: Mapping[str, Iterator[str]]) -> Iterator[int | str]:
    """The template's own text, media placeholders replaced by what stands for each picture or clip."""
    for part in specials.split(text):
        placeholder = specials.names[part] if isinstance(part, int) else ""
        if placeholder in waiting:
            yield from specials.split(next(waiting[placeholder]))
        else:
            yield part


def _append(runs: Runs, part: int | str) -> None:
    if isinstance(part, str) and runs and isinstance(runs[-1], str):
        runs[-1] += part
    else:
        runs.append(part)
