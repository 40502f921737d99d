"""Packed files read like plain ones, and what is written packed can be cut between members."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from tests.conftest import PARITY, Run
from yoj_cli.errors import InputError
from yoj_cli.records import lines as lines_module
from yoj_cli.records.lines import Oversized, PackedWriter, bounded_lines, is_packed, open_lines, zstd
from yoj_cli.records.parse import read_groups

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


def test_a_line_over_the_limit_is_passed_over_and_never_held() -> None:
    stream = io.BytesIO(b"short\n" + b"x" * 300 + b"\nend")
    found = list(bounded_lines(stream, max_bytes=100, name="f"))
    assert [bytes(line) for line in found] == [b"short\n", b"x" * 100, b"end"]
    assert isinstance(found[1], Oversized)
    assert found[1].n_bytes == 301


def test_what_has_no_line_breaks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "END_AFTER_BYTES", 5 << 20)
    with (
        open("/dev/zero", "rb") as endless,
        pytest.raises(InputError, match="zero: has no line break in 5,242,880 bytes"),
    ):
        list(bounded_lines(endless, max_bytes=100, name="zero"))


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_a_line_over_the_limit_costs_its_own_group(yoj: Run, tmp_path: Path, way: str) -> None:
    good = '{"prompt": "q", "responses": ["a", "b"]}\n'
    content = good + json.dumps({"prompt": "x" * 5000, "responses": ["a", "b"]}) + "\n" + good
    (tmp_path / "data.jsonl").write_text(content)
    judge = ("-m", PARITY / "checkpoint", "--device", "cpu", "--on-error", "skip", "--max-line-mb", "0.001")
    path, stdin = (tmp_path / "data.jsonl", "") if way == "file" else ("-", content)
    code, out, err = yoj("score", *judge, path, stdin=stdin)
    assert code == 1
    assert ["scores" in json.loads(line) for line in out.splitlines()] == [True, False, True]
    assert ":2: the line has 5,040 bytes, more than is read (--max-line-mb)" in err


def test_lines_that_are_handed_over_need_no_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    (group,) = read_groups("-", [b'{"prompt": "q", "responses": ["a"]}\n'])
    assert group.where == "stdin:1"
