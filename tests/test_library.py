"""The package as a library: cheap to import, typed, and the same judge."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

import yoj_cli
from tests.conftest import PARITY
from yoj_cli import Failure, Group, InputError, Judge, Message, UsageError, read_groups

CHECKPOINT = str(PARITY / "checkpoint")
CLIPS = Path(__file__).parents[1] / "examples" / "clips"


@pytest.fixture
def judge():
    with Judge.load(CHECKPOINT, device="cpu", quant="none") as loaded:
        yield loaded


def test_importing_the_package_imports_no_torch():
    code = "import yoj_cli, sys; print([name for name in ('torch', 'transformers', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_needs_no_judge_imports_no_torch():
    names = "Failure, Group, Media, Message, MediaOptions, Verdict, YojError, InputError, read_groups"
    code = f"import sys; from yoj_cli import {names}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_public_names_are_there():
    assert yoj_cli.Judge.load
    assert yoj_cli.Verdict
    assert {"Judge", "Verdict", "__version__"} <= set(dir(yoj_cli))


def test_every_public_name_is_found_where_it_is_declared():
    assert [name for name in yoj_cli.__all__ if getattr(yoj_cli, name, None) is None] == []
    from yoj_cli import errors

    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.YojError)
    }
    assert ours <= set(yoj_cli.__all__)
    assert issubclass(yoj_cli.InputError, yoj_cli.YojError)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Judgement'"):
        yoj_cli.Judgement  # noqa: B018


@pytest.mark.slow
def test_a_program_with_types_is_checked_by_them():
    sample = Path(__file__).with_name("typed_library.py")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(sample)],
        capture_output=True,
        text=True,
        cwd=sample.parents[1],
    )
    assert done.stdout.startswith("Success"), done.stdout


def test_a_stream_takes_records_beside_groups_and_failures(judge, write_lines):
    group = Group("mine", (Message("user", ("q",)),), ("a", "b"))
    failure = Failure("f:1", {}, InputError("bad"))
    lines = read_groups(str(write_lines({"prompt": "q", "responses": ["a", "b"]})))
    records = [
        {"prompt": "q", "responses": ["a", "b"]},
        group,
        {"id": "own", "question": "q", "chosen": "a", "rejected": "b", "mine": 1},
        failure,
        {"prompt": "q"},
        "q",
        *lines,
    ]
    found = list(judge.score_groups(records))
    assert [item.group.id for item in found[:3]] == ["1", "mine", "own"]
    assert found[2].group.record is records[2]
    assert found[3] is failure
    assert [str(item.error).splitlines()[0] for item in found[4:6]] == [
        "record 5: the line has no responses",
        "record 6: expected a group or a dictionary, found a text",
    ]
    assert found[0].scores == pytest.approx(found[6].scores, abs=1e-5)


def test_a_stream_of_records_is_closed_with_the_stream(judge):
    closed = threading.Event()

    def records():
        try:
            while True:
                yield {"prompt": "q", "responses": ["a"]}
        finally:
            closed.set()

    source = records()
    stream = judge.score_groups(source)
    next(stream)
    stream.close()
    assert closed.wait(30)


def test_a_closed_judge_frees_its_model_and_says_that_it_is_closed():
    judge = Judge.load(CHECKPOINT, device="cpu", quant="none")
    verdict = judge.score(prompt="q", responses=["a", "b"])
    stream = judge.score_groups({"prompt": "q", "responses": ["a"]} for _ in range(10_000))
    next(stream)
    held = [weakref.ref(part) for part in (judge.backbone.model, judge.head, judge.engine)]
    judge.close()
    judge.close()
    for use in (
        lambda: judge.score(prompt="q", responses=["a"]),
        lambda: judge.score_group(verdict.group),
        lambda: judge.score_groups([]),
        lambda: judge.backbone,
        judge.__enter__,
    ):
        with pytest.raises(UsageError, match="this judge is closed\nLoad it again"):
            use()
    with pytest.raises(UsageError, match="this judge is closed"):
        list(stream)
    del stream
    until = time.monotonic() + 10
    while any(part() for part in held) and time.monotonic() < until:
        time.sleep(0.01)  # a thread that was preparing a group lets go after it
        gc.collect()
    assert [part() for part in held] == [None] * 3
    assert judge.description["model"] == CHECKPOINT
    assert verdict.group.responses == ("a", "b")


def test_with_closes_the_judge_also_after_an_error():
    with pytest.raises(InputError), Judge.load(CHECKPOINT, device="cpu", quant="none") as judge:
        judge.score(images=["nowhere.png"], responses=["a"])
    with pytest.raises(UsageError, match="closed"):
        judge.score(prompt="q", responses=["a"])


def test_the_last_judge_to_close_ends_the_decoders(monkeypatch):
    from yoj_cli.media.decoder_pool import pool

    monkeypatch.setattr("yoj_cli.scoring.lifetime._open", weakref.WeakSet())  # without those of other tests
    clip = str(next(CLIPS.glob("*.mp4")))
    with Judge.load(CHECKPOINT, device="cpu", quant="none", max_frames=2) as first:
        with Judge.load(CHECKPOINT, device="cpu", quant="none", max_frames=2) as second:
            second.score(videos=[clip], responses=["a"])
            processes = [each._process for each in pool._processes]
            assert processes
        assert [process.poll() for process in processes] == [None] * len(processes)  # the first may need them
        first.score(videos=[clip], responses=["a"])
    assert not pool._processes
    assert all(process.poll() is not None for process in processes)


@pytest.mark.parametrize("way", ["score", "score_group", "score_groups"])
def test_the_judges_number_of_frames_is_read_whatever_else_is_said_about_media(
    judges, tmp_path, monkeypatch, way
):
    from PIL import Image

    from yoj_cli import MediaOptions
    from yoj_cli.records.parse import parse

    for index in range(6):
        (tmp_path / "clip").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (40 * index, 0, 0)).save(tmp_path / "clip" / f"{index}.png")
    record = {"prompt": "q", "videos": [{"frames": "clip"}], "responses": ["a", "b"]}

    monkeypatch.chdir(tmp_path)  # where the paths of records start

    def n_tokens(loaded, **options):
        media = MediaOptions(**options)
        if way == "score":
            return loaded.score(**record, media=media).n_tokens
        if way == "score_group":
            return loaded.score_group(parse(record), media=media).n_tokens
        return next(loaded.score_groups([record], media=media)).n_tokens

    few, all_of_them = judges(CHECKPOINT, max_frames=2), judges(CHECKPOINT)
    assert n_tokens(few) < n_tokens(all_of_them)
    assert n_tokens(few) == n_tokens(all_of_them, max_frames=2)
    assert n_tokens(few, max_frames=16) == n_tokens(all_of_them)
