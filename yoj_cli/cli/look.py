"""A look at what will be read, before a judge is loaded: half a minute is long for hearing of a wrong file."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import IO

from yoj_cli.cli.input import build_media_options
from yoj_cli.config.io import InputConfig
from yoj_cli.errors import YojError, errors_at
from yoj_cli.groups import Failure, Group

N_FRAMES = 2
"""Of a clip its first and its last frame are decoded; the judge takes more."""


def look_at_files(
    paths: Sequence[str], media: InputConfig, *, skip: bool, limit: int | None
) -> Iterable[bytes]:
    """Read the first group of each file, and its media.

    What has not come yet is not waited for: whoever writes into a pipe may be loading a model of its own.

    Args:
        skip: groups that cannot be scored will be reported as they come; only a file of another kind is an error.
        limit: groups that will be scored; with a limit nothing may be left for the files after the first.
    Returns:
        The lines of standard input, those already read among them.
    Raises:
        YojError: a file, or its first group, cannot be used.
    """
    from yoj_cli.records.lines import bounded_lines
    from yoj_cli.records.parse import read_groups

    lines: Iterable[bytes] = ()
    if "-" in paths:
        lines = bounded_lines(sys.stdin.buffer, max_bytes=media.max_line_bytes, name="stdin")
    for path in paths if limit is None else paths[:1]:
        if path == "-":
            if not _has_come(sys.stdin.buffer):
                continue
            head = _read_head(lines)
            lines = chain(head, lines)
            groups = read_groups("-", head, media_root=media.media_root, limits=media)
        elif os.path.isfile(path):  # a pipe can be read once
            groups = read_groups(path, media_root=media.media_root, limits=media)
        else:
            continue
        first = next(groups, None)
        if first is not None and not skip:
            _look_at(first, media)
    return lines


def _look_at(first: Group | Failure, media: InputConfig) -> None:
    if isinstance(first, Failure):
        raise stopped_by(first.error)
    try:
        look_at_media(first, media)
    except YojError as error:
        raise stopped_by(error) from error


def look_at_media(group: Group, media: InputConfig) -> None:
    """See that a group's pictures and clips are there and can be decoded; what is on the network is left alone.

    Raises:
        YojError: naming the file, with the group's line in front.
    """
    if not group.media:
        return
    from yoj_cli.media.decoder_pool import pool

    pool.start()  # while Pillow and numpy are imported here
    from yoj_cli.media.budget import load_group

    remote = ("http://", "https://") if media.allow_remote_media else ()
    near = [medium for medium in group.media if not str(medium.source).startswith(remote)]
    with errors_at(group.where):
        load_group(near, build_media_options(media, N_FRAMES))


def stopped_by(error: YojError) -> YojError:
    """The error of a group that ends the run, with the way to go on without it."""
    way_on = "To report such groups and score the others: --on-error skip."
    error.hint = f"{error.hint}\n{way_on}" if error.hint else way_on
    return error


def _has_come(stream: IO[bytes]) -> bool:
    """Whether there is something to read, or nothing more will come."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):  # nothing that can be waited for, such as a file on Windows
        return not stream.isatty()


def _read_head(stream: Iterable[bytes]) -> list[bytes]:
    """Lines up to the first one that is not blank."""
    head: list[bytes] = []
    for line in stream:
        head.append(line)
        if line.strip():
            break
    return head
