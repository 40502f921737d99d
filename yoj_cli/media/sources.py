"""Where a medium's bytes are: a local file, a data: URL, or an address on the network."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
from collections.abc import Iterator
from typing import BinaryIO, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

from blake3 import blake3

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media, scheme_of, shorten
from yoj_cli.media.files import open_file
from yoj_cli.media.memory_file import open_memory_file
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.stores import is_store

HINT_DATA_URL = "Write data:image/png;base64, and then the file's bytes in base64."

Identity: TypeAlias = tuple[int | bytes, ...]
"""Equal only where a file's content is: device, inode, size and time of change (ns), or a digest of the bytes."""


@contextlib.contextmanager
def open_source(media: Media, options: MediaOptions) -> Iterator[tuple[BinaryIO, Identity]]:
    """The medium as an open file, wherever its bytes are, and what tells it from others.

    A decoder in another process is handed the file itself: no path that could lead elsewhere meanwhile.

    Raises:
        MediaError: the bytes cannot be had, or may not, or nobody wants them any more.
    """
    if not options.is_wanted():
        raise MediaError("nobody waits for it any more", where=shorten(str(media.source)))
    if media.path or not media.source:
        with open_file(media) as file:
            found = os.fstat(file.fileno())
            yield file, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return
    data = _fetch(str(media.source), options)
    identity = (blake3(data).digest(),)
    with open(open_memory_file(data), "rb") as file:
        del data
        yield file, identity


def _fetch(source: str, options: MediaOptions) -> bytes:
    """What a data: URL holds or an address serves."""
    scheme = scheme_of(source)
    if scheme == "data":
        return parse_data_url(source)
    if scheme not in ("http", "https") and not is_store(source):
        raise MediaError(
            f"{scheme}:// addresses cannot be read", where=shorten(source), hint="Download it first."
        )
    if not options.allow_remote:
        raise MediaError(
            "media on the network is not fetched unless that is allowed",
            where=shorten(source),
            hint="Download it first, or give --allow-remote-media.",
        )
    from yoj_cli.media.download import download, fetch_object

    if is_store(source):
        return fetch_object(source, options)
    return download(source, options)


def parse_data_url(url: str) -> bytes:
    """The bytes of a data: URL, base64 or percent-encoded.

    Raises:
        MediaError: no comma, empty, or not base64.
    """
    where = shorten(url)
    header, comma, body = url.partition(",")
    if not comma:
        raise MediaError("a data: URL needs a comma before its data", where=where, hint=HINT_DATA_URL)
    if header.lower().endswith(";base64"):
        packed = re.sub(r"\s", "", unquote(body)).translate({ord("-"): "+", ord("_"): "/"})
        try:
            data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise MediaError(
                f"the data: URL is not valid base64: {error}", where=where, hint=HINT_DATA_URL
            ) from error
    else:
        data = unquote_to_bytes(body)
    if not data:
        raise MediaError("the data: URL is empty", where=where, hint=HINT_DATA_URL)
    return data
