"""Rows and media of data sets: files of every kind, the Hub, and what a stranger's paths and zips must not do."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.conftest import PARITY
from tests.fake_hub import Model
from yoj_cli.errors import InputError, MediaError, YojError
from yoj_cli.rows import tree as tree_module
from yoj_cli.rows.media_folder import MediaFolder, ending_of
from yoj_cli.rows.source import Source, open_source
from yoj_cli.storage.data_sets import is_data_set_cached

PNG = (
    next(PARITY.rglob("*.png")).read_bytes()
    if list(PARITY.rglob("*.png"))
    else b"\x89PNG\r\n\x1a\n" + b"0" * 40
)
JPG = b"\xff\xd8\xff" + b"1" * 40
ROWS = [{"id": 1, "text": "é"}, {"id": 2, "text": "b"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def local(path: Path, keep: Path | None = None, *, copies: bool = False, media: Path | None = None) -> Source:
    folder = MediaFolder(keep or path.parent / "kept")
    return open_source("", "", files=("rows*",), data=path, keep=folder, copies=copies, media=media)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", ["lines", "gz", "list", "object", "lines.json", "parquet", "zip", "folder"])
def test_rows_of_every_kind_of_file_are_the_same(kind: str, tmp_path: Path) -> None:
    contents = {
        "lines": ("rows.jsonl", LINES),
        "gz": ("rows.jsonl.gz", gzip.compress(LINES)),
        "list": ("rows.json", json.dumps(ROWS).encode()),
        "object": ("rows.json", json.dumps({"version": 1, "pairs": ROWS}).encode()),
        "lines.json": ("rows.json", LINES),
        "folder": ("set/data/rows.jsonl", LINES),
    }
    if kind == "parquet":
        path = write_parquet(tmp_path / "rows.parquet", ROWS)
    elif kind == "zip":
        path = write_zip(tmp_path / "set.zip", {"deep/rows.jsonl": LINES, "deep/notes.txt": b"no"})
    else:
        name, content = contents[kind]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path = tmp_path / "set" if kind == "folder" else path
    found = list(local(path).rows(("rows*",)))
    assert [dict(row) for _, row in found] == ROWS
    assert "rows" in found[1][0]
    assert "2" in found[1][0]


def test_the_first_pattern_that_matches_says_which_files_are_read(tmp_path: Path) -> None:
    for name in ("a-train.jsonl", "b-train.jsonl", "test.jsonl"):
        (tmp_path / name).write_bytes(LINES)
    source = local(tmp_path)
    assert [name for _, name in source.data_files(("no*", "*train*", "*"))] == [
        "a-train.jsonl",
        "b-train.jsonl",
    ]
    with pytest.raises(InputError, match=r"3 data files, and none is called no\*: a-train\.jsonl"):
        source.data_files(("no*",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b'{"a": 1}\nnot json\n', r"rows\.jsonl:2: .*not JSON"),
        ("rows.jsonl.gz", gzip.compress(LINES, mtime=0)[:-9], "damaged or cut off"),
        ("rows.json", b"7", "list of objects"),
        ("rows.json", b'{"a": [{"b": 1}], "c": [{"d": 1}]}', "found an object with a, c"),
        ("rows.json", b"[1]", "expected an object"),
        ("rows.json", b"[{", "not JSON"),
        ("rows.parquet", b"PAR1 no", "parquet file cannot be read"),
        ("rows.zip", b"PK no", "zip is damaged"),
        ("rows.csv", b"a,b", "no data file by its ending"),
    ],
)
def test_a_broken_file_is_one_clear_error(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(local(tmp_path / name).rows(("rows*",)))


def test_pictures_in_rows_are_kept_once_under_their_content(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    source = local(write_parquet(tmp_path / "rows.parquet", ROWS), keep)
    record = source.keep_media(
        {"images": [{"bytes": PNG, "path": "../../evil.png"}, JPG, {"bytes": PNG}]}, "row 1"
    )
    assert [Path(each).suffix for each in record["images"]] == [".png", ".jpg", ".png"]
    assert record["images"][0] == record["images"][2]
    assert sorted(path.name for path in keep.iterdir()) == sorted(
        {Path(each).name for each in record["images"]}
    )
    assert Path(record["images"][0]).read_bytes() == PNG
    assert not list(tmp_path.parent.glob("evil*"))


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "/etc/hostname", "a/../../secret.png", "..\\secret.png", "C:\\x.png", "a\0b", "."],
)
@pytest.mark.parametrize("copies", [True, False])
def test_a_path_cannot_leave_the_set(path: str, copies: bool, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "rows.jsonl").write_bytes(LINES)
    with pytest.raises(InputError, match="does not stay inside the data set"):
        local(tmp_path / "set", copies=copies).keep_media({"image": path}, "row 1")


@pytest.mark.parametrize("copies", [True, False])
def test_a_link_cannot_lead_out_of_the_set(copies: bool, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "rows.jsonl").write_bytes(LINES)
    (tmp_path / "set" / "a.png").symlink_to("../secret.png")
    with pytest.raises(MediaError, match="outside"):
        local(tmp_path / "set", copies=copies).keep_media({"image": "a.png"}, "row 1")


def test_media_are_found_in_the_folder_in_zips_in_it_and_in_what_is_given_besides(tmp_path: Path) -> None:
    data = tmp_path / "set"
    (data / "clip").mkdir(parents=True)
    (data / "rows.jsonl").write_bytes(LINES)
    (data / "a.png").write_bytes(PNG)
    for number in (2, 10, 1):
        (data / "clip" / f"{number}.png").write_bytes(PNG + bytes([number]))
    write_zip(data / "pictures.zip", {"b.jpg": JPG, "frames/1.png": PNG, "frames/2.jpg": JPG})
    more = write_zip(tmp_path / "more.zip", {"more/c.jpg": JPG + b"c"})
    source = local(data, tmp_path / "kept", copies=True, media=more)
    record = {
        "images": ["./a.png", "pictures/b.jpg", "c.jpg"],
        "videos": ["clip", {"frames": "pictures/frames", "seconds_per_frame": 2}],
    }
    kept = source.keep_media(record, "row 1")
    assert [Path(path).read_bytes() for path in kept["images"]] == [PNG, JPG, JPG + b"c"]
    frames = sorted(Path(kept["videos"][0]).iterdir())
    assert [path.read_bytes()[-1] for path in frames] == [1, 2, 10]
    assert kept["videos"][1]["seconds_per_frame"] == 2
    assert [path.suffix for path in sorted(Path(kept["videos"][1]["frames"]).iterdir())] == [".png", ".jpg"]
    assert not list((tmp_path / "kept").rglob(".*"))
    with pytest.raises(InputError, match=r"there is no 'd\.jpg' in"):
        source.keep_media({"image": "d.jpg"}, "row 1")


def test_what_was_kept_for_a_dropped_group_is_removed(tmp_path: Path) -> None:
    keep = MediaFolder(tmp_path / "kept")
    first = keep.save_bytes(PNG, "row 1")
    mark = keep.mark()
    second = keep.save_bytes(JPG, "row 2")
    assert keep.save_bytes(PNG, "row 2") == first
    keep.undo(mark)
    assert Path(first).exists()
    assert not Path(second).exists()
    assert keep.n_files == 1


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\necho hello", b"RIFF0000WAVE", b"%PDF-1.7"])
def test_what_is_no_picture_and_no_clip_is_not_written(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither a picture nor a clip|empty"):
        MediaFolder(tmp_path / "kept").save_bytes(content, "row 1")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("start", "ending"),
    [
        (b"\x00\x00\x00\x18ftypmp42", ".mp4"),
        (b"\x00\x00\x00\x18ftypavif", ".avif"),
        (b"RIFF\x00\x00\x00\x00WEBP", ".webp"),
        (b"\x1a\x45\xdf\xa3", ".mkv"),
        (b"text", None),
    ],
)
def test_an_ending_follows_from_the_first_bytes(start: bytes, ending: str | None) -> None:
    assert ending_of(start) == ending


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MIN_BOMB_BYTES", 1 << 20)
    packed = write_zip(tmp_path / "rows.zip", {"rows.jsonl": b" " * (2 << 20), "a.png": b"\0" * (2 << 20)})
    source = local(packed)
    with pytest.raises(InputError, match="which no data set does"):
        list(source.rows(("rows*",)))
    with pytest.raises(InputError, match="which no data set does"):
        source.keep_media({"image": "a.png"}, "row 1")
    monkeypatch.setattr(tree_module, "MIN_BOMB_BYTES", 1 << 30)
    monkeypatch.setattr(tree_module, "MAX_UNPACKED_BYTES", 3 << 20)
    again = local(packed)
    assert list(again.rows(("rows*",))) == []
    with pytest.raises(InputError, match="unpacks to more than"):
        list(again.rows(("rows*",)))


def test_members_of_a_zip_write_nothing_under_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    packed = write_zip(
        tmp_path / "in" / "rows.zip",
        {"rows.jsonl": LINES, "../../up.png": PNG, "/abs.png": PNG, "ok.png": PNG},
    )
    source = local(packed, tmp_path / "kept")
    with pytest.raises(InputError, match="does not stay inside"):
        source.keep_media({"image": "../../up.png"}, "row 1")
    kept = source.keep_media({"image": "ok.png"}, "row 1")["image"]
    assert [str(path) for path in (tmp_path / "kept").iterdir()] == [kept]
    assert {path.name for path in tmp_path.iterdir()} == {"in", "kept"}


@pytest.fixture
def on_the_hub(hub: Any) -> Model:
    files = {"data/rows-0.jsonl": LINES, "data/other.jsonl": b"{}\n", "pictures.zip": b"", "a.png": PNG}
    hub.models["someone/set"] = Model(private=False, files=files)
    return hub.models["someone/set"]


def open_hub(**options: Any) -> Source:
    return open_source("someone/set", "", files=("rows*.jsonl",), archives=("*.png",), **options)


def test_only_the_files_that_are_needed_are_fetched_and_found_again_offline(
    on_the_hub: Model, hub: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not is_data_set_cached("someone/set", "")
    source = open_hub()
    assert source.revision == on_the_hub.commit
    assert [dict(row) for _, row in source.rows(("rows*.jsonl",))] == ROWS
    assert Path(source.keep_media({"image": "a.png"}, "row 1")["image"]).read_bytes() == PNG
    fetched = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert fetched == {"rows-0.jsonl", "a.png"}
    assert is_data_set_cached("someone/set", "")
    assert not is_data_set_cached("someone/set", "0" * 40)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert [dict(row) for _, row in open_hub().rows(("rows*.jsonl",))] == ROWS
    assert not hub.requests


def test_what_the_hub_does_not_have_is_an_error_of_the_input(on_the_hub: Model) -> None:
    with pytest.raises(InputError, match=r"no file is called no\*: it has data/"):
        open_source("someone/set", "", files=("no*",))
    with pytest.raises(InputError, match="no data set on the Hub"):
        open_source("someone/nothing", "", files=("*",))


def test_offline_without_a_copy_says_what_to_do() -> None:
    with pytest.raises(YojError, match=r"(?s)not in the local cache.*--repo-type dataset.*--data") as caught:
        open_source("someone/never-fetched", "", files=("*",))
    assert caught.value.exit_code == 2
