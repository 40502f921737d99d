"""Lines count for their memory while their groups wait, whatever of them is tokenized."""

from __future__ import annotations

import gc
import json
import sys
import time

import pytest

from tests.conftest import PARITY
from yoj_cli.errors import InputError
from yoj_cli.groups import Failure, Group
from yoj_cli.records.memory import count_bytes
from yoj_cli.records.parse import parse
from yoj_cli.scoring import stream
from yoj_cli.scoring.stream import FAILURE_TOKENS, size_of


@pytest.mark.parametrize(("last", "bytes_per_character"), [("", 1), ("ก", 2), ("😀", 4)])
def test_a_text_counts_for_what_its_widest_character_makes_of_it(last: str, bytes_per_character: int) -> None:
    record = {"note": "a" * 100_000 + last}
    assert 100_000 * bytes_per_character <= count_bytes(record) < 101_000 * bytes_per_character


def test_small_values_count_for_more_than_their_line() -> None:
    record = {"notes": [[] for _ in range(10_000)], "note": {"k" * 1000: 1.5}}
    assert count_bytes(record) > 10_000 * sys.getsizeof([]) + 1000


def test_a_group_that_cannot_be_scored_counts_for_its_line() -> None:
    error = InputError("too long")
    assert size_of(Failure("a:1", {"id": "x"}, error), bytes_per_token=1000) == FAILURE_TOKENS
    assert size_of(Failure("a:1", {"prompt": "a" * 1_000_000}, error), bytes_per_token=1000) >= 1000


def test_groups_of_large_lines_are_not_read_far_ahead(judges, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that are only passed through are no tokens, and are held until their row is written."""
    monkeypatch.setattr(stream, "PREFETCHED_BYTES", 1 << 20)
    judge = judges(str(PARITY / "checkpoint"))
    n_read = 0

    def groups(n_bytes: int):
        nonlocal n_read
        for n_read in range(1, 61):
            record = json.loads(json.dumps({"prompt": "q", "responses": ["a", "b"], "note": "a" * n_bytes}))
            yield parse(record, where=f"a:{n_read}", default_id=str(n_read))

    for n_bytes, most in ((10, 60), (1 << 20, 12)):
        n_read = 0
        results = judge.score_groups(groups(n_bytes))
        first = next(iter(results))
        assert not isinstance(first, (Group, Failure))
        assert n_read <= most
        results.close()


def test_a_large_group_that_is_refused_is_let_go_at_once(judges) -> None:
    """Its error came through functions that hold its texts, and whom its thread must not hold in turn."""
    judge = judges(str(PARITY / "checkpoint"))
    gc.collect()
    gc.disable()
    try:
        records = (
            {"id": f"let go {i}", "prompt": "a" * 11_000_000, "responses": ["a", "b"]} for i in range(6)
        )
        assert all(isinstance(result, Failure) for result in judge.score_groups(records))
        deadline = time.monotonic() + 10  # a thread may still be at the end of its last one
        while kept := [
            each.id for each in gc.get_objects() if type(each) is Group and each.id.startswith("let go")
        ]:
            assert time.monotonic() < deadline, kept
            del kept
            time.sleep(0.05)
    finally:
        gc.enable()
