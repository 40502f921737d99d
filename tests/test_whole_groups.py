"""A group is whole: another process, or a machine with the same folders, needs nothing but the group."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from yoj_cli.cli.input import read_files
from yoj_cli.config.io import InputConfig
from yoj_cli.errors import MediaError
from yoj_cli.groups import Group, Media
from yoj_cli.media.load import Picture, load
from yoj_cli.records.parse import parse, read_groups
from yoj_cli.records.selection import Selection

RED, BLUE = (255, 0, 0), (0, 0, 255)
LOAD_PICKLED = """
import pickle, sys
from yoj_cli.media.load import load
for medium in pickle.load(sys.stdin.buffer).media:
    print(load(medium).digest)
"""


def draw(path: Path, colour: tuple[int, int, int] = RED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)
    return path


def write(path: Path, **fields: object) -> Path:
    path.write_text(json.dumps({"prompt": "q", "responses": ["a", "b"], **fields}))
    return path


def read(path: Path, **options: object) -> Group:
    (group,) = read_groups(str(path), **options)
    assert isinstance(group, Group)
    return group


def test_a_pickled_group_finds_its_media_in_another_process_and_folder(tmp_path, monkeypatch):
    draw(tmp_path / "data" / "a.png")
    write(tmp_path / "groups.jsonl", image="data/a.png", videos=[{"frames": "data", "seconds_per_frame": 2}])
    monkeypatch.chdir(tmp_path)
    group = read(Path("groups.jsonl"))
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(group)) == group
    there = subprocess.run(
        [sys.executable, "-c", LOAD_PICKLED],
        input=pickle.dumps(group),
        capture_output=True,
        check=True,
        cwd="/",
    )
    assert there.stdout.decode().split() == [load(medium).digest for medium in group.media]


def test_a_picture_in_memory_goes_along(tmp_path):
    group = parse({"prompt": "q", "responses": ["a"], "images": [Image.new("RGB", (4, 4), RED)]})
    there = pickle.loads(pickle.dumps(group))
    assert load(there.media[0]).digest == load(group.media[0]).digest


def test_the_source_stays_as_the_line_has_it_and_the_path_is_absolute(tmp_path, monkeypatch):
    record = {"prompt": "q", "responses": ["a"]}
    monkeypatch.chdir(tmp_path)

    def path_of(source: str, **options: object) -> str:
        (medium,) = parse({**record, "image": source}, **options).media
        assert medium.source == source
        return medium.path

    assert path_of("a.png") == Media("image", "a.png").path == f"{tmp_path}/a.png"
    assert path_of("x/../a.png", folder="in") == f"{tmp_path}/in/x/../a.png"  # x may be a link
    assert path_of("a.png", folder="/data", media_root="/media") == "/media/a.png"
    assert path_of("/a.png", media_root="/media") == "/a.png"  # refused when it is opened
    assert path_of("file:///a%20b.png", folder="/data") == "/a b.png"
    for address in ("https://x.org/a.png", "data:image/png;base64,AA==", "s3://bucket/a.png"):
        assert path_of(address) == ""


def test_files_of_several_folders_are_one_stream_and_a_limit_counts_over_all(tmp_path):
    files = []
    for name, colour in (("one", RED), ("two", BLUE)):
        draw(tmp_path / name / "a.png", colour)
        files.append(str(write(tmp_path / name / "groups.jsonl", image="a.png")))
    groups = list(read_files(files, InputConfig(), (), Selection()))
    colours = [load(group.media[0]).image.getpixel((0, 0)) for group in groups]
    assert colours == [RED, BLUE]
    assert [group.where for group in read_files(files[::-1], InputConfig(), (), Selection(limit=1))] == [
        f"{files[1]}:1"
    ]


def test_the_root_goes_along_and_is_checked_where_the_file_is_opened(tmp_path):
    draw(tmp_path / "media" / "a.png")
    secret = draw(tmp_path / "secret.png", BLUE)
    data = write(tmp_path / "groups.jsonl", image="a.png")
    (medium,) = pickle.loads(pickle.dumps(read(data, media_root=tmp_path / "media"))).media
    assert isinstance(load(medium), Picture)
    (tmp_path / "media" / "a.png").unlink()
    (tmp_path / "media" / "a.png").symlink_to(secret)
    with pytest.raises(MediaError, match="outside the media root"):
        load(medium)


FLIP = """
import os, sys
place, aside, outside = sys.argv[1:]
print(flush=True)
while True:
    os.rename(place, aside)
    os.symlink(outside, place)
    os.unlink(place)
    os.rename(aside, place)
"""


@pytest.mark.parametrize("flipped", ["file", "folder"])
def test_a_link_that_comes_between_check_and_opening_is_no_way_out(tmp_path, flipped):
    """Another program swaps a part of the path for a link to elsewhere and back, as fast as it can."""
    root = tmp_path / "media"
    inside, outside = draw(root / "in" / "a.png"), draw(tmp_path / "out" / "a.png", BLUE)
    pairs = (inside, outside) if flipped == "file" else (inside.parent, outside.parent)
    (medium,) = parse({"prompt": "q", "responses": ["a"], "image": "in/a.png"}, media_root=root).media
    with subprocess.Popen(
        [sys.executable, "-c", FLIP, pairs[0], root / "aside", pairs[1]], stdout=subprocess.PIPE
    ) as flipper:
        try:
            assert flipper.stdout is not None
            flipper.stdout.readline()
            seen = {_colour_or_refusal(medium) for _ in range(2000)}
        finally:
            flipper.kill()
    assert BLUE not in seen


def _colour_or_refusal(medium: Media) -> object:
    try:
        picture = load(medium)
    except MediaError:
        return None
    assert isinstance(picture, Picture)
    return picture.image.getpixel((0, 0))
