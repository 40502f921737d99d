"""A group as a line of a request: its conversation with its media as bytes, and its responses.

What else the input line holds (rankings, notes, names of files) stays here: the server needs none of it.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO

from yoj_cli.errors import InputError, MediaError, errors_at
from yoj_cli.groups import Group, Media, shorten
from yoj_cli.media.files import is_folder, list_frames
from yoj_cli.media.options import MediaOptions
from yoj_cli.media.sources import open_source

SENT_AS = "data:application/octet-stream;name={};base64,"
"""A medium on its way: its number in the group, by which an error of the server's is told of its own name here."""

SENT_NAME = re.compile(r"data:application/octet-stream;name=(\d+);base64,[\w+/=]*…?")

HINT_SMALLER = "Use smaller pictures, fewer frames or a shorter clip; or score it without --server."


def request_line(group: Group, number: int, options: MediaOptions, *, max_bytes: int) -> bytes:
    """The group as one line of JSON, without a line break.

    Args:
        number: sent as its "id"; the answer has it again.
        max_bytes: of the line.
    Raises:
        YojError: a medium cannot be had, or the line would be too long; with the group's line in front.
    """
    with errors_at(group.where):
        sender = _Sender(
            replace(options, max_download_bytes=min(options.max_download_bytes, max_bytes)), max_bytes
        )
        record = {
            "id": number,
            "messages": [
                {"role": turn.role, "content": [sender.block(block) for block in turn.blocks]}
                for turn in group.messages
            ],
            "responses": list(group.responses),
        }
        try:
            line = json.dumps(record, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError("the group holds half a surrogate pair, which is no text") from error
        if len(line) > max_bytes:
            raise _too_large(f"the group takes {len(line):,} bytes", max_bytes)
        return line


class _Sender:
    """Turns the media of one group into what is sent, and sees that they stay below a size together."""

    def __init__(self, options: MediaOptions, max_bytes: int) -> None:
        self._options, self._max_bytes = options, max_bytes
        self._left_bytes = max_bytes  # of the line
        self._n_sent = 0

    def block(self, block: str | Media) -> dict[str, Any]:
        if isinstance(block, str):
            return {"type": "text", "text": block}
        if block.kind == "image":
            return {"type": "image", "image": self._data_url(block)}
        if block.kind == "video" and not is_folder(block):
            return {"type": "video", "video": self._data_url(block)}
        frames: dict[str, Any] = {
            "frames": [self._data_url(each) for each in block.frames or list_frames(block)]
        }
        if block.seconds_per_frame is not None:
            frames["seconds_per_frame"] = block.seconds_per_frame
        return {"type": "video", "video": frames}

    def _data_url(self, media: Media) -> str:
        name = SENT_AS.format(self._n_sent)
        self._n_sent += 1
        if isinstance(media.source, str):
            with open_source(media, self._options) as (file, _):
                self._spend(_size_of(file), media)
                data = file.read()
        else:
            data = _png(media.source, self._options)
            self._spend(len(data), media)
        return name + base64.b64encode(data).decode("ascii")

    def _spend(self, n_bytes: int, media: Media) -> None:
        """See that there is room for a medium of so many bytes, before it is read."""
        self._left_bytes -= 4 * -(-n_bytes // 3)  # as base64
        if self._left_bytes < 0:
            raise _too_large(f"it has {n_bytes:,} bytes", self._max_bytes, name_of(media))


def sent_media(group: Group) -> Iterator[Media]:
    """The media of a group in the order of the numbers they are sent with."""
    for media in group.media:
        if media.kind == "frames" or (media.kind == "video" and is_folder(media)):
            yield from media.frames or list_frames(media)
        else:
            yield media


def name_of(media: Media) -> str:
    return shorten(media.source) if isinstance(media.source, str) else "<picture in memory>"


def _size_of(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _png(image: Any, options: MediaOptions) -> bytes:
    """A Pillow picture as the judge would see it: upright, RGB, without loss."""
    from yoj_cli.media.pictures import convert_picture

    file = BytesIO()
    upright = convert_picture(image, where="<picture in memory>", max_pixels=options.max_pixels).copy()
    upright.info = {}  # a transparent colour, say, that was dealt with
    upright.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _too_large(what: str, max_bytes: int, where: str = "") -> InputError:
    kind = MediaError if where else InputError
    return kind(f"{what}; a request for one group has at most {max_bytes:,}", where=where, hint=HINT_SMALLER)
