"""A clip is decoded once for groups side by side, and anew where its file or the limits are others."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import PARITY
from tests.test_clips import write_clip
from yoj_cli.errors import MediaError
from yoj_cli.groups import Media
from yoj_cli.media import load as media_module
from yoj_cli.media.clip_cache import ClipCache
from yoj_cli.media.decoder_pool import DecoderPool
from yoj_cli.media.load import load
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import read_groups
from yoj_cli.verdicts.verdict import Verdict


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the clips that are decoded, in their order."""
    media_module.close()
    paths, decode = [], DecoderPool.decode_clip

    def count(pool, file, *, where, **limits):
        paths.append(where)
        return decode(pool, file, where=where, **limits)

    monkeypatch.setattr(DecoderPool, "decode_clip", count)
    yield paths
    media_module.close()


def test_twelve_groups_that_show_one_clip_decode_it_once(judges, tmp_path, decoded):
    write_clip(tmp_path / "a.mp4", 12)
    record = {"prompt": "q", "responses": ["a", "b"], "video": "a.mp4"}
    (tmp_path / "groups.jsonl").write_text((json.dumps(record) + "\n") * 12)
    verdicts = list(
        judges(str(PARITY / "checkpoint")).score_groups(read_groups(str(tmp_path / "groups.jsonl")))
    )
    assert all(isinstance(verdict, Verdict) for verdict in verdicts)
    assert len(verdicts) == 12
    assert decoded == ["a.mp4"]


def test_threads_wait_for_the_one_that_decodes(tmp_path, decoded):
    clip = write_clip(tmp_path / "a.mp4", 40)
    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: load(Media("video", str(clip))).digest, range(16)))
    assert len(digests) == len(decoded) == 1


def test_a_file_that_changed_or_another_limit_is_decoded_anew(tmp_path, decoded):
    clip = write_clip(tmp_path / "a.mp4", 12)
    first, again = (load(Media("video", str(clip))) for _ in range(2))
    assert again is first
    assert len(load(Media("video", str(clip)), MediaOptions(max_frames=2)).times_s) == 2
    with pytest.raises(MediaError, match="too large"):
        load(Media("video", str(clip)), MediaOptions(max_pixels=10))
    assert len(decoded) == 3
    write_clip(clip, 20)
    assert load(Media("video", str(clip))).duration_s == 2.0
    os.utime(clip, ns=(0, 0))  # perhaps of equal length, but written anew
    load(Media("video", str(clip)))
    assert len(decoded) == 5


def test_a_failure_is_not_kept(tmp_path, decoded):
    clip = write_clip(tmp_path / "a.mp4", 12)
    data, found = clip.read_bytes(), clip.stat()
    for content in (bytes(len(data)), data):
        clip.write_bytes(content)
        os.utime(clip, ns=(found.st_atime_ns, found.st_mtime_ns))
        if content is not data:
            with pytest.raises(MediaError, match="not a clip"):
                load(Media("video", str(clip)))
    assert load(Media("video", str(clip))).times_s
    assert len(decoded) == 2


def test_who_waits_for_a_failure_gets_it_under_its_own_name(tmp_path, decoded):
    (tmp_path / "a.mp4").write_text("no clip")
    (tmp_path / "b.mp4").hardlink_to(tmp_path / "a.mp4")

    def refusal(name: str) -> str:
        with pytest.raises(MediaError) as caught:
            load(Media("video", str(tmp_path / name)))
        return caught.value.where

    names = ["a.mp4", "b.mp4"] * 4
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(refusal, names)) == [str(tmp_path / name) for name in names]


def test_what_is_kept_is_bounded_and_the_one_used_longest_ago_goes():
    cache, made = ClipCache(len, max_bytes=10), []

    def get(text: str) -> str:
        return cache.get(text, lambda: made.append(text) or text)

    for text in ("aaaa", "bbbb", "aaaa", "cccc", "aaaa", "bbbb"):  # at "cccc", "bbbb" is the one to go
        assert get(text) == text
    assert made == ["aaaa", "bbbb", "cccc", "bbbb"]
    assert [get("x" * 11) for _ in range(2)] == ["x" * 11] * 2  # too large to keep, and pushes nothing out
    get("aaaa")
    assert made[4:] == ["x" * 11] * 2
    cache.clear()
    get("aaaa")
    assert made[-1] == "aaaa"


def test_a_second_thread_waits_and_hears_of_a_failure():
    cache, begun, n_made = ClipCache(len), threading.Barrier(2, timeout=30), 0

    def fail() -> str:
        nonlocal n_made
        n_made += 1
        begun.wait()
        time.sleep(0.5)  # until the second thread waits for this
        raise MediaError("broken")

    def get() -> str:
        with pytest.raises(MediaError, match="broken"):
            cache.get("a", fail)
        return "refused"

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(get)
        second = threads.submit(lambda: (begun.wait(), get())[1])
        assert second.result() == first.result() == "refused"
    assert n_made == 1
    assert cache.get("a", lambda: "mended") == "mended"
