"""Budgets of lines and groups: what is over is refused by name, with the option that raises it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import PARITY, Run
from tests.test_clips import write_clip
from yoj_cli.config.io import InputConfig
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError, MediaError
from yoj_cli.groups import Failure, Media
from yoj_cli.media import budget
from yoj_cli.media.budget import load_group
from yoj_cli.media.decoder_process import DecoderProcess
from yoj_cli.media.load import load
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.json_line import parse_line
from yoj_cli.records.parse import parse
from yoj_cli.scoring.judge import Judge
from yoj_cli.votes.rows import read_rows


def group(**fields: Any) -> dict[str, Any]:
    return {"prompt": "p", "responses": ["a", "b"], **fields}


def test_a_line_may_hold_as_many_values_as_are_allowed_and_no_more() -> None:
    line = b'{"responses": ["a", "b"], "n": [1, {"x": 2}, []]}'  # four commas, three [ and two {
    assert parse_line(line, where="", max_values=10)
    with pytest.raises(
        InputError, match=r"more than 9 texts, numbers, lists and objects \(--max-line-values\)"
    ):
        parse_line(line, where="", max_values=9)


def test_commas_and_brackets_within_a_text_are_no_values() -> None:
    text = ',[{"\\' * 1000
    line = json.dumps({"prompt": text, "responses": [text]}).encode()
    assert parse_line(line, where="", max_values=5) == {"prompt": text, "responses": [text]}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"a": [' + b"{}," * 8_000_000 + b"{}]}", "more than 1,000,000"),
        (b"{" + b",".join(b'"%d":1' % i for i in range(1_000_001)) + b"}", "more than 1,000,000"),
        (b'{"a": ' + b"[" * 20_000_000, "more than 1,000,000"),
        (b'{"a": ' + b"[" * 900_000 + b"}", "nested more than 100 deep"),
        (b'{"a": ' + b"7" * 10_000_000 + b"}", "an integer of thousands of digits"),
        (b'{"a": ' + b"7" * 10_000_000 + b".5}", "is too large"),
    ],
)  # fmt: skip
def test_what_would_take_gigabytes_to_parse_is_refused_at_once(line: bytes, what: str) -> None:
    started = time.process_time()
    with pytest.raises(InputError, match=what):
        parse_line(line, where="x")
    assert time.process_time() - started < 3


def test_responses_and_media_of_a_group_are_counted_before_anything_is_opened() -> None:
    limits = Limits(max_responses=2, max_media=3)
    assert parse(group(images=["a", "b"], video="c"), limits=limits)
    with pytest.raises(InputError, match=r"has 3 responses, over the limit of 2 \(--max-responses\)"):
        parse(group(responses=["a", "b", "c"]), limits=limits)
    with pytest.raises(InputError, match=r"has 4 pictures and clips, over the limit of 3 \(--max-media\)"):
        parse(group(images=["a", "b", "c"], video="d"), limits=limits)
    blocks = [{"type": "image", "image": "a"}] * 4
    with pytest.raises(InputError, match="--max-media"):
        parse({"messages": [{"role": "user", "content": blocks}], "responses": ["a"]}, limits=limits)


def test_the_defaults_let_through_sixteen_frames_of_4k_and_a_long_list_of_responses() -> None:
    options = MediaOptions.within(InputConfig())
    assert options == MediaOptions()
    assert 16 * 3840 * 2160 <= options.max_clip_pixels <= options.max_group_pixels
    assert parse(group(responses=["a"] * 1024, images=["a"] * 64))
    assert LIMITS.max_line_bytes == 64 << 20


def test_a_group_over_a_limit_costs_itself(yoj: Run, write_lines: Callable[..., Path]) -> None:
    path = write_lines(group(), group(responses=["a"] * 5), group(n=list(range(100))), group())
    judge = ("-m", PARITY / "checkpoint", "--device", "cpu", "--on-error", "skip")
    code, out, err = yoj("score", *judge, "--max-responses", 4, "--max-line-values", 50, path)
    assert code == 1
    assert ["scores" in json.loads(line) for line in out.splitlines()] == [True, False, False, True]
    assert "5 responses, over the limit of 4 (--max-responses)" in err
    assert "more than 50 texts, numbers, lists and objects (--max-line-values)" in err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("score", name) for name in ("--max-picture-mp", "--max-line-mb", "--max-download-mb")),
        *(("serve", name) for name in ("--timeout", "--max-body-mb", "--max-waiting-mb", "--body-timeout")),
        ("rank", "--server-patience"),
    ],
)
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_limit_that_is_no_number_is_wrong_usage(yoj: Run, command: str, option: str, value: str) -> None:
    code, _, err = yoj(command, "-m", "demo", option, value)
    assert code == 2
    assert f"{option}: {value} is not a positive number" in err


def test_records_in_memory_are_measured_too() -> None:
    judge = Judge.load(str(PARITY / "checkpoint"), device="cpu")
    (found,) = judge.score_groups([group(responses=["a"] * 3)], limits=Limits(max_responses=2))
    assert isinstance(found, Failure)
    with pytest.raises(InputError, match="--max-responses"):
        judge.score(prompt="p", responses=["a"] * 3, limits=Limits(max_responses=2))


def test_rows_of_votes_are_bounded(tmp_path: Path) -> None:
    limits = Limits(max_line_mb=0.001, max_line_values=20)
    path = tmp_path / "votes.jsonl"
    rows = [
        {"group": "g", "a": "x", "b": "y", "winner": "a", **more} for more in ({}, {"n": list(range(30))})
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"a": "' + "x" * 2000 + '"}\n')
    good, many, long = (row for _, row in read_rows(str(path), limits))
    assert isinstance(good, dict)
    assert "--max-line-values" in str(many)
    assert "--max-line-mb" in str(long)
    (tmp_path / "votes.csv").write_text("group,a,b,winner\ng,x,y," + "a" * 2000 + "\n")
    with pytest.raises(InputError, match=r"votes.csv:2: the line has 2,007 bytes, .*--max-line-mb"):
        list(read_rows(str(tmp_path / "votes.csv"), limits))


def test_a_text_file_is_not_read_beyond_the_limit_of_a_line(yoj: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 2000)
    code, _, err = yoj(
        "rank", "-p", "q", "-r", tmp_path / "a.txt", "-t", "b", "-m", "demo", "--max-line-mb", 0.001
    )
    assert code == 2
    assert "a.txt: has more than 1,048 bytes (--max-line-mb)" in err


def test_what_a_training_run_was_allowed_is_in_its_recipe() -> None:
    from yoj_cli.cli.train import _given

    assert _given(InputConfig(max_media=7), None, False) == {"max_media": 7}


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Media]:
    def make(name: str, width: int, height: int) -> Media:
        Image.new("RGB", (width, height), "red").save(tmp_path / name)
        return Media("image", str(tmp_path / name))

    return make


def test_the_pixels_of_a_group_are_added_up(picture: Callable[..., Media]) -> None:
    pictures = [picture("a.png", 30, 10), picture("b.png", 20, 10), picture("c.png", 10, 10)]
    assert [each.image.width for each in load_group(pictures, MediaOptions(max_group_pixels=600))] == [
        30,
        20,
        10,
    ]
    with pytest.raises(MediaError, match=r"more than 599 pixels in all \(--max-group-mp\)"):
        load_group(pictures, MediaOptions(max_group_pixels=599))


def test_a_picture_shown_several_times_is_loaded_once_and_counted_each_time(
    picture: Callable[..., Media],
) -> None:
    red, other = picture("a.png", 10, 10), picture("b.png", 10, 10)
    first, second, third = load_group([red, other, red])
    assert first is third
    assert first is not second
    with pytest.raises(MediaError, match="--max-group-mp"):
        load_group([red] * 3, MediaOptions(max_group_pixels=299))
    in_memory = Image.new("RGB", (10, 10))
    one, same = load_group([Media("image", in_memory), Media("image", in_memory)])
    assert one is same


def test_the_pixels_of_a_group_are_added_up_before_a_large_picture_is_decoded(
    picture: Callable[..., Media], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is damaged behind its header, so that to decode it would be another error."""
    monkeypatch.setattr(budget, "SMALL_PIXELS", 199)
    first, second, third = (picture(name, 20, 10) for name in ("a.png", "b.png", "c.png"))
    data = bytearray((tmp_path / "a.png").read_bytes())
    at = data.index(b"IDAT") + 4
    data[at : at + 4] = b"\xff" * 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(MediaError, match="--max-group-mp"):
        load_group([first, second, third], MediaOptions(max_group_pixels=500))
    with pytest.raises(MediaError, match="damaged"):
        load_group([first, second, third], MediaOptions(max_group_pixels=600))


def test_a_small_picture_is_one_request_and_so_is_a_clip_that_is_kept(
    picture: Callable[..., Media], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = DecoderProcess.ask

    def count(process: DecoderProcess, request: dict[str, Any], *args: Any) -> dict[str, Any]:
        asked.append(request["kind"])
        return ask(process, request, *args)

    monkeypatch.setattr(DecoderProcess, "ask", count)
    monkeypatch.setattr(budget, "SMALL_PIXELS", 450)
    pictures = [picture(name, 20, 10) for name in ("a.png", "b.png", "c.png")]
    in_one_go = load_group(pictures)
    assert (
        asked == ["picture"] * 4
    )  # of the third, which is more than is left of them, the header alone at first
    assert [each.digest for each in in_one_go] == [load(each).digest for each in pictures]
    asked.clear()
    clip = Media("video", str(write_clip(tmp_path / "a.mp4", 9)))
    first, second = load_group([clip]), load_group([clip])
    assert asked == ["clip header", "clip"]
    assert first[0] is second[0]


def test_the_frames_of_a_clip_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 9)
    options = MediaOptions(max_frames=4)
    frames = load(Media("video", str(clip)), options).frames
    n_pixels = frames.size // 3
    assert len(load(Media("video", str(clip)), replace(options, max_clip_pixels=n_pixels)).frames) == 3
    with pytest.raises(MediaError, match=r"3 frames of 128 x 64, .*\(--max-clip-mp\)"):
        load(Media("video", str(clip)), replace(options, max_clip_pixels=n_pixels - 1))


def test_the_pictures_of_a_folder_are_counted_as_frames(
    picture: Callable[..., Media], tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(name, 20, 10)
    folder = Media("frames", str(tmp_path))
    assert len(load(folder, MediaOptions(max_clip_pixels=600)).frames) == 3
    with pytest.raises(MediaError, match=r"3 frames of 20 x 10, .*\(--max-clip-mp\)"):
        load(folder, MediaOptions(max_clip_pixels=599))
