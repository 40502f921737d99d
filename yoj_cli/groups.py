"""What flows through the program: a group, its conversation and media, or what went wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from yoj_cli.errors import InputError, MediaError, YojError

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
    """One picture, one clip, or one folder of frames; whole, so that another process can open it.

    Attributes:
        kind: "image", "video" (a file to sample) or "frames" (a folder of pictures sorted by name, or a list of them).
        source: a path, a data: URL, an http(s) URL, or a picture already in memory; messages and tables show it. Of a
            list of frames it says how many there are.
        seconds_per_frame: time between the frames of a folder, where one is stated; a clip file has its own.
        frames: the pictures of a list of frames, in their order; empty elsewhere.
        path: the absolute path that `source` means, symbolic links not followed; by default it starts from the
            current folder. "" where there is none: an address, a data: URL, a picture in memory.
        root: the absolute path of the folder that `path` must lie in once links are followed, which is checked
            whenever it is opened (--media-root); None lets it be anywhere.
    """

    kind: MediaKind
    source: str | Image
    seconds_per_frame: float | None = None
    path: str = field(default="", repr=False)
    root: str | None = field(default=None, repr=False)
    frames: tuple[Media, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.path and not self.frames:
            object.__setattr__(self, "path", local_path(self.source))


def local_path(source: str | Image, folder: str = "") -> str:
    """The absolute path that a medium's source means, links not followed; "" where it means none.

    Args:
        folder: where a relative path starts; "" is the current folder.
    Raises:
        MediaError: a file:// URL that cannot be read as a path.
    """
    if not isinstance(source, str) or not source or scheme_of(source) not in ("", "file"):
        return ""
    return absolute(os.path.join(folder, _path_of_url(source) if scheme_of(source) == "file" else source))


def absolute(path: str) -> str:
    """A path from the current folder; unlike `os.path.abspath` it keeps "..", which leads elsewhere behind a link."""
    try:
        return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    except OSError:  # the current folder was deleted; opening the path says so
        return path


def scheme_of(source: str) -> str:
    """ "data", "http", "file" …; "" for a plain path. A single letter is a Windows drive."""
    match = re.match(r"(?:(data):|([a-z][a-z0-9+.-]+)://)", source, re.IGNORECASE)
    return (match[1] or match[2]).lower() if match else ""


def shorten(source: str) -> str:
    """The source as an error names it: a data: URL or a long address only begins."""
    limit = 48 if scheme_of(source) == "data" else 200
    return source if len(source) <= limit else source[:limit] + "…"


def _path_of_url(url: str) -> str:
    from urllib.request import url2pathname

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise MediaError(
            f"not a usable path: {error}", where=repr(shorten(url)), hint="Correct the path."
        ) from error
    if parts.netloc not in ("", "localhost"):
        raise MediaError(
            f"a file:// URL cannot name the host {parts.netloc}",
            where=shorten(url),
            hint="Write file:///folder/file, or the path alone.",
        )
    return url2pathname(parts.path)


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
