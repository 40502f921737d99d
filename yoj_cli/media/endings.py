"""Whether a file goes on to where its own structure ends.

The decoders of these formats take what is there, and show a shorter clip than the one that was meant.
"""

from __future__ import annotations

import os
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n"
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
"""The elements that a Matroska or WebM file consists of."""


def is_cut_short(file: BinaryIO) -> bool:
    """True where the end of a GIF, PNG, WebP, Matroska, WebM or AVI file is missing; False for anything else.

    The file's position is moved.
    """
    file.seek(0)
    head = file.read(8)
    if head == PNG:
        return not _reaches_last_chunk(file)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        file.seek(6)
        return not _reaches_trailer(file)
    if head.startswith(EBML):
        return _end_of_segment(file) > _size(file)
    if head.startswith(b"RIFF"):
        return _end_of_riff(file) > _size(file)
    return False


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _reaches_last_chunk(file: BinaryIO) -> bool:
    """Walk a PNG's chunks: length, name, data, checksum."""
    while len(head := file.read(8)) == 8:
        if head[4:] == b"IEND":
            return True
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return False


def _reaches_trailer(file: BinaryIO) -> bool:
    """Walk a GIF's blocks; source: GIF89a specification, sections 15 to 27."""
    screen = file.read(7)
    _skip_colour_table(file, screen[4:5])
    while label := file.read(1):
        if label == b";":
            return True
        if label == b"!":  # an extension: its kind, then sub-blocks
            file.seek(1, os.SEEK_CUR)
            _skip_sub_blocks(file)
        elif label == b",":  # a picture: place and size, colour table, code size, then sub-blocks
            _skip_colour_table(file, file.read(9)[8:])
            file.seek(1, os.SEEK_CUR)
            _skip_sub_blocks(file)
    return False


def _skip_colour_table(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 7) + 1), os.SEEK_CUR)


def _skip_sub_blocks(file: BinaryIO) -> None:
    while (length := file.read(1)) > b"\0":
        file.seek(length[0], os.SEEK_CUR)


def _end_of_segment(file: BinaryIO) -> int:
    """Where the segment ends, in bytes; 0 where it does not say, as in a live recording."""
    file.seek(0)
    end = 0
    while name := file.read(4):
        first = file.read(1)
        n_more = 8 - first[0].bit_length() if first else 8
        rest = file.read(min(n_more, 7))
        if n_more > 7 or len(rest) < n_more:
            return end
        size = int.from_bytes(bytes([first[0] & (0x7F >> n_more)]) + rest, "big")
        if size == (1 << 7 * (n_more + 1)) - 1:  # all ones: unknown
            return 0
        end = file.tell() + size
        if name == SEGMENT:
            return end
        file.seek(end)
    return end


def _end_of_riff(file: BinaryIO) -> int:
    """Where the last of the chunks ends that a large AVI is divided into, in bytes; each starts at an even place."""
    end = 0
    file.seek(0)
    while (head := file.read(8)).startswith(b"RIFF") and len(head) == 8:
        end += end % 2 + 8 + int.from_bytes(head[4:], "little")
        file.seek(end + end % 2)
    return end
