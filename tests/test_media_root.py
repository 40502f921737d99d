"""Nothing beneath --media-root leads out of it, also while somebody swaps links behind the program's back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath

import av
import numpy as np
import pytest
from PIL import Image

from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.media import beneath
from yoj_cli.media import load as media_module
from yoj_cli.media.beneath import open_beneath, walk_beneath
from yoj_cli.media.load import Picture, load
from yoj_cli.media.options import MediaOptions

INSIDE, OUTSIDE = (0, 120, 0), (250, 0, 0)

SWAPPER = """
    import os, random, sys, time
    place, link, spare, parent = sys.argv[1:]
    print("ready", flush=True)
    while os.getppid() == int(parent):
        os.rename(place, spare)
        os.rename(link, place)
        time.sleep(random.random() / 1000)
        os.rename(place, link)
        os.rename(spare, place)
        time.sleep(random.random() / 1000)
"""
"""A folder and a link that leads out of the root take the same place in turns."""


@pytest.fixture(autouse=True)
def _roots_are_closed() -> Iterator[None]:
    yield
    media_module.close()


def fill(folder: Path, colour: tuple[int, int, int]) -> Path:
    """A picture, a folder of frames and a clip of one colour."""
    (folder / "frames").mkdir(parents=True)
    image = Image.new("RGB", (64, 48), colour)
    for path in (folder / "a.png", folder / "frames" / "0.png", folder / "frames" / "1.png"):
        image.save(path)
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for packet in (
            *(stream.encode(av.VideoFrame.from_image(image)) for _ in range(4)),
            stream.encode(None),
        ):
            container.mux(packet)
    return folder


def swapping(place: Path, link: Path) -> subprocess.Popen[str]:
    """Another program that swaps them as fast as it can."""
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(SWAPPER),
            place,
            link,
            place.with_name("spare"),
            str(os.getpid()),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert swapper.stdout is not None
    swapper.stdout.readline()
    return swapper


def outcome(medium: Media) -> str:
    """ "inside" or "outside" by the colour that was loaded, else "refused"."""
    media_module._clips.clear()
    try:
        found = load(medium, MediaOptions(max_frames=2))
    except MediaError:
        return "refused"
    pixel = found.image.getpixel((9, 9)) if isinstance(found, Picture) else found.frames[0, 9, 9]
    assert isinstance(pixel, tuple | np.ndarray)
    return "inside" if pixel[0] < 100 else "outside"


def load_while_links_are_swapped(tmp_path: Path, duration_s: float) -> dict[str, Counter[str]]:
    root = tmp_path / "root"
    fill(root / "place", INSIDE)
    (root / "link").symlink_to(fill(tmp_path / "secret", OUTSIDE))
    swapper = swapping(root / "place", root / "link")
    media = {
        "image": Media("image", "place/a.png", path=f"{root}/place/a.png", root=str(root)),
        "frames": Media("frames", "place/frames", path=f"{root}/place/frames", root=str(root)),
        "video": Media("video", "place/a.mp4", path=f"{root}/place/a.mp4", root=str(root)),
    }
    found = {kind: Counter[str]() for kind in media}
    try:
        ends = time.monotonic() + duration_s
        while time.monotonic() < ends:
            for kind, medium in media.items():
                found[kind][outcome(medium)] += 1
    finally:
        swapper.kill()
        swapper.communicate()
    return found


def check_swapped(found: dict[str, Counter[str]]) -> None:
    for kind, counts in found.items():
        assert counts["outside"] == 0, (kind, counts)
        assert counts["refused"] > 0, (kind, counts)
        assert counts["inside"] > 0, (kind, counts)


def test_a_folder_that_a_link_takes_the_place_of_is_read_or_refused(tmp_path: Path) -> None:
    check_swapped(load_while_links_are_swapped(tmp_path, 2))


@pytest.mark.slow
def test_no_load_of_thousands_leads_out_while_links_are_swapped(tmp_path: Path) -> None:
    found = load_while_links_are_swapped(tmp_path, 10)
    check_swapped(found)
    assert sum(counts.total() for counts in found.values()) > 1000


@pytest.mark.parametrize("way", ["openat2", "folder by folder"])
def test_links_and_ways_up_are_refused_beneath_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "openat2" and beneath._openat2() is None:
        pytest.skip("this system has none")
    if way == "folder by folder":
        monkeypatch.setattr(beneath, "_openat2", lambda: None)
    root = tmp_path / "root"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "a.txt").write_text("inside")
    (tmp_path / "secret.txt").write_text("outside")
    (root / "out").symlink_to(tmp_path)
    (root / "in").symlink_to("deep")
    (root / "deep" / "a.txt").symlink_to("er/a.txt")
    with open(open_beneath(str(root), PurePath("deep/er/a.txt"), os.O_RDONLY)) as file:
        assert file.read() == "inside"
    for path in (
        "out/secret.txt",
        "../secret.txt",
        "deep/../../secret.txt",
        "in/er/a.txt",
        "deep/a.txt",
        "none",
    ):
        with pytest.raises(OSError, match=r"."):
            open_beneath(str(root), PurePath(path), os.O_RDONLY)
    folder = open_beneath(str(root), PurePath(), os.O_RDONLY)
    assert sorted(os.listdir(folder)) == ["deep", "in", "out"]
    os.close(folder)


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(root / "kept", INSIDE)
    (root / "relative").symlink_to("kept")
    (root / "absolute").symlink_to(root / "kept")
    (tmp_path / "alias").symlink_to(root)
    for name in ("relative", "absolute", "../root/kept", "../alias/relative"):
        for kind, leaf in (("image", "a.png"), ("frames", "frames"), ("video", "frames"), ("video", "a.mp4")):
            path = f"{root}/{name}/{leaf}"
            assert outcome(Media(kind, path, path=path, root=str(root))) == "inside", path
            assert outcome(Media(kind, path, path=path, root=str(tmp_path / "alias"))) == "inside", path


def test_a_root_that_another_folder_takes_the_place_of_is_read_no_more(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(root, INSIDE)
    fill(tmp_path / "other", OUTSIDE)
    picture = Media("image", "a.png", path=f"{root}/a.png", root=str(root))
    assert outcome(picture) == "inside"
    root.rename(tmp_path / "old")
    (tmp_path / "other").rename(root)
    with pytest.raises(MediaError, match="another folder has taken the place of the media root"):
        load(picture)
    media_module.close()  # as when the last judge is closed
    assert outcome(picture) == "outside"  # which is what the root is now


def test_roots_are_opened_once_and_only_so_many_are_kept(tmp_path: Path) -> None:
    for number in range(beneath.MAX_ROOTS + 3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.txt").write_text(str(number))
    for _ in range(2):
        for number in range(beneath.MAX_ROOTS + 3):
            root = str(tmp_path / str(number))
            with open(open_beneath(root, PurePath("a.txt"), os.O_RDONLY)) as file:
                assert file.read() == str(number)
    assert len(beneath._roots.handles) == beneath.MAX_ROOTS
    kept = dict(beneath._roots.handles)
    with open(open_beneath(next(iter(kept)), PurePath("a.txt"), os.O_RDONLY)):
        assert beneath._roots.handles == kept


def test_walking_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    folder = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for path in ("a/b", "a/none", "none/b"):
        try:
            os.close(walk_beneath(folder, PurePath(path), os.O_RDONLY))
        except OSError:
            continue
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)
    os.close(folder)
