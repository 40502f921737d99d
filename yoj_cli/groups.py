"""What flows through the program: a group, its conversation and media, or what went wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from yoj_cli.errors import InputError, YojError

if TYPE_CHECKING:
    from PIL.Image import Image

MediaKind = Literal["image", "video", "frames"]

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Whose a turn may be; a role is printed by many chat templates, so it is never a text of the line's own."""


def check_role(role: str, name: str) -> None:
    """Refuse a role that is none of ROLES.

    Args:
        name: what an error calls the turn ("messages[0]").
    Raises:
        InputError: it is unknown.
    """
    if role not in ROLES:
        shown = role if len(role) <= 40 else role[:39] + "…"
        raise InputError(
            f"{name} has the unknown role {shown!r}", hint=f"A turn is from one of: {', '.join(ROLES)}."
        )


@dataclass(frozen=True, slots=True)
class Media:
    """One picture, one clip, or one folder of frames.

    Attributes:
        kind: "image", "video" (a file to sample) or "frames" (a folder of pictures sorted by name).
        source: a path, a data: URL, an http(s) URL, or a picture already in memory.
        seconds_per_frame: time between the frames of a folder, where one is stated; a clip file has its own.
    """

    kind: MediaKind
    source: str | Image
    seconds_per_frame: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is one of ROLES; `blocks` holds texts (str) and the media shown between them, in order."""

    role: str
    blocks: tuple[str | Media, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt with its N responses.

    Attributes:
        id: the line's "id" as text, else its line number.
        messages: the conversation up to the responses; the last turn is the user's.
        responses: (N,) candidate texts, N >= 1.
        rankings: (N,) 1 = best, ties allowed, none above N; also where the line has ratings. None where it has neither.
        record: the input line as it was read, written back with the scores.
        where: "data.jsonl:17".
    """

    id: str
    messages: tuple[Message, ...]
    responses: tuple[str, ...]
    rankings: tuple[float, ...] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(block for turn in self.messages for block in turn.blocks if isinstance(block, Media))

    @property
    def prompt(self) -> str:
        """The last user turn's text."""
        return " ".join(block for block in self.messages[-1].blocks if isinstance(block, str))


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that gave no group, or a group that gave no verdict; `error` says which line and why."""

    where: str
    record: Mapping[str, Any]
    error: YojError

    @property
    def id(self) -> str:
        """As a group's: the line's "id", else its line number."""
        return id_of(self.record, self.where.rpartition(":")[2])


def id_of(record: Mapping[str, Any], default: str) -> str:
    found = record.get("id")
    return default if found is None else str(found)
