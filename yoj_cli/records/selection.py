"""Which lines of the input a run is about: its shard, the first so many, those that are not done yet."""

from __future__ import annotations

from collections.abc import Set

BLOCK = 128
"""Groups in a row that go to one shard, and that no group outside is read together with.

Neighbours often share a picture, which is then decoded and encoded once; and a block gives the same bits in any shard.
"""


class Selection:
    """Asked once for each line that is not blank, over all files of a run, in their order.

    Args:
        shard, n_shards: of the blocks of BLOCK lines, every `n_shards`-th from block number `shard` on.
        limit: lines that there are, over all shards; None for all.
        n_done: how many of the shard's own lines are passed over at the start.
        only: numbers, among the shard's own lines from 0 on, of those that are wanted; None for all.
    """

    def __init__(
        self,
        *,
        shard: int = 0,
        n_shards: int = 1,
        limit: int | None = None,
        n_done: int = 0,
        only: Set[int] | None = None,
    ) -> None:
        self._shard, self._n_shards = shard, n_shards
        self._limit, self._n_done, self._only = limit, n_done, only
        self._n_seen = self._n_own = 0

    @property
    def is_over(self) -> bool:
        """No line that follows is wanted."""
        return self._limit is not None and self._n_seen >= self._limit

    def takes_next(self) -> bool:
        """Whether the next line is wanted."""
        if self.is_over:
            return False
        block = self._n_seen // BLOCK
        self._n_seen += 1
        if block % self._n_shards != self._shard:
            return False
        number = self._n_own
        self._n_own += 1
        return number >= self._n_done and (self._only is None or number in self._only)


def count_own(n_lines: int, shard: int, n_shards: int) -> int:
    """How many of so many lines belong to a shard."""
    n_blocks, rest = divmod(n_lines, BLOCK)
    own_blocks = len(range(shard, n_blocks, n_shards))
    return own_blocks * BLOCK + (rest if n_blocks % n_shards == shard else 0)
