"""Shards, limits and what is done already: each line goes to exactly one place."""

from __future__ import annotations

import pytest

from yoj_cli.records.selection import BLOCK, Selection, count_own


def taken(n_lines: int, **options: object) -> list[int]:
    selection = Selection(**options)  # type: ignore[arg-type]
    return [number for number in range(n_lines) if selection.takes_next()]


@pytest.mark.parametrize("n_shards", [1, 2, 3, 7])
@pytest.mark.parametrize("n_lines", [0, 1, BLOCK, 5 * BLOCK + 17])
def test_shards_part_the_lines_and_know_how_many_are_theirs(n_lines: int, n_shards: int) -> None:
    parts = [taken(n_lines, shard=shard, n_shards=n_shards) for shard in range(n_shards)]
    assert sorted(number for part in parts for number in part) == list(range(n_lines))
    assert [count_own(n_lines, shard, n_shards) for shard in range(n_shards)] == [len(part) for part in parts]


def test_the_second_of_two_shards_begins_with_the_second_block() -> None:
    assert taken(2 * BLOCK + 5, shard=1, n_shards=2) == list(range(BLOCK, 2 * BLOCK))


def test_what_is_done_is_counted_among_the_shards_own_lines() -> None:
    assert taken(4 * BLOCK, shard=1, n_shards=2, n_done=BLOCK + 2) == list(range(3 * BLOCK + 2, 4 * BLOCK))
    assert taken(4 * BLOCK, shard=1, n_shards=2, only={0, BLOCK}) == [BLOCK, 3 * BLOCK]


def test_the_limit_counts_lines_of_all_shards() -> None:
    selection = Selection(limit=3, shard=1, n_shards=2)
    assert [selection.takes_next() for _ in range(3)] == [False] * 3
    assert selection.is_over
    assert taken(10, limit=3, n_done=1) == [1, 2]
