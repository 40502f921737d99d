"""Packed files read like plain ones, and what is written packed can be cut between members."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from yoj_cli.errors import InputError
from yoj_cli.records.lines import PackedWriter, is_packed, open_lines, zstd

LINES = [b'{"id": 1}\n', b'{"id": 2}\n']


def pack(name: str, *members: bytes) -> bytes:
    file = io.BytesIO()
    packed = PackedWriter(file, name)
    for member in members:
        packed.write(member)
        packed.end_member()
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_members_are_read_as_one_stream_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    path = tmp_path / "any_name"
    path.write_bytes(pack(name, *LINES))
    with open_lines(path) as lines:
        assert list(lines) == LINES
    assert is_packed(path) == (name != "a.jsonl")


def test_others_unpack_what_is_written() -> None:
    assert gzip.decompress(pack("a.gz", *LINES)) == b"".join(LINES)
    assert zstd.decompress(pack("a.zst", *LINES)) == b"".join(LINES)


def test_the_same_lines_give_the_same_bytes_at_any_time() -> None:
    assert pack("a.gz", *LINES)[4:8] == bytes(4)  # RFC 1952: the time of the file


@pytest.mark.parametrize("damage", [lambda data: data[:-4], lambda data: data[:20] + b"\xff" * 8 + data[28:]])
@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_damaged_packing_is_an_error_that_names_the_file(tmp_path: Path, name: str, damage) -> None:
    path = tmp_path / name
    path.write_bytes(damage(pack(name, bytes(range(256)) * 50 + b"\n", *LINES)))
    with pytest.raises(InputError, match=name) as found, open_lines(path) as lines:
        list(lines)
    assert "damaged or cut off" in str(found.value)
