"""What the commands read: files named on the command line, and the limits of media."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from yoj_cli.config.io import InputConfig
from yoj_cli.config.limits import LIMITS
from yoj_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from yoj_cli.groups import Failure, Group
    from yoj_cli.media.options import MediaOptions
    from yoj_cli.records.selection import Selection


def check_paths(paths: Sequence[str] | None) -> list[str]:
    """The JSON Lines files to read, each seen to be there before a model is loaded; "-" where none is named.

    Raises:
        UsageError: nothing is named and nothing is piped in.
        InputError: no such file, a folder, or not readable.
    """
    if not paths:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no input", hint="Name a JSON Lines file, or - to read standard input.")
        return ["-"]
    check_stdin_once(paths)
    if "-" in paths and sys.stdin is None:
        raise UsageError("standard input is closed")
    for path in paths:
        if path == "-":
            continue
        if not os.path.exists(path):
            raise InputError("there is no such file", where=path)
        if os.path.isdir(path):
            raise InputError("this is a folder, not a JSON Lines file", where=path)
        if not os.access(path, os.R_OK):
            raise InputError("cannot be read (Permission denied)", where=path)
    return list(paths)


def check_stdin_once(paths: Sequence[str]) -> None:
    if paths.count("-") > 1:
        raise UsageError("standard input can be read once only", hint="Give - in one place.")


def read_text(path: str, max_bytes: int = LIMITS.max_line_bytes) -> str:
    """A whole text file without the line break at its end; "-" is standard input.

    Args:
        max_bytes: a longer one is refused, and not read to its end.

    Raises:
        InputError: it cannot be read, is too long, or is not UTF-8.
    """
    name = "stdin" if path == "-" else path
    if path == "-" and sys.stdin is None:
        raise UsageError("standard input is closed")
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with open(path, "rb") as file:
                raw = file.read(max_bytes + 1)
        if len(raw) > max_bytes:
            raise InputError(f"has more than {max_bytes:,} bytes (--max-line-mb)", where=name)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=name) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=name) from error
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text (byte {error.start})", where=name) from error
    return text.removesuffix("\n").removesuffix("\r")


def decode_argument(text: str, where: str) -> str:
    """A text from the command line; UTF-8 that the locale made Python keep as bytes (LC_ALL=C) is read.

    Args:
        where: the option that holds it.
    """
    if text.isascii() or not any("\udc80" <= char <= "\udcff" for char in text):
        return text
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text (byte {error.start})", where=where) from error


def read_files(
    paths: Sequence[str], media: InputConfig, stdin: Iterable[bytes], selection: Selection
) -> Iterator[Group | Failure]:
    """The selected groups of all files as one stream; a file is opened when those before it are read."""
    from yoj_cli.records.parse import read_groups

    for path in paths:
        if selection.is_over:
            return
        yield from read_groups(
            path,
            stdin,
            media_root=media.media_root,
            selection=selection,
            limits=media,
        )


def build_media_options(config: InputConfig, max_frames: int | None = None) -> MediaOptions:
    """The limits of media.

    Args:
        max_frames: frames read of a clip; None leaves that to the judge.
    """
    from yoj_cli.media.options import MediaOptions

    return MediaOptions.within(
        config,
        allow_remote=config.allow_remote_media,
        allow_private=config.allow_private_media,
        max_download_bytes=int(config.max_download_mb * (1 << 20)),
        max_total_download_bytes=int(config.max_total_download_gb * (1 << 30)),
        max_frames=max_frames,
    )
