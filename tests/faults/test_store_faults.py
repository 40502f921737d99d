"""A store that fails in the middle: a shard is there as a whole, or not at all."""

from __future__ import annotations

import json
import random
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.test_ray import sharded
from yoj_cli.records.selection import BLOCK
from yoj_cli.run.gather import find_parts
from yoj_cli.run.places import read_shard_manifest, shard_path
from yoj_cli.run.shard_task import ShardScorer

pytestmark = pytest.mark.slow

N_SHARDS = 8


class FailingFileSystem(MemoryFileSystem):
    """Loses its connection in one call of three, while `draw` is set; under the name of a store that we open."""

    protocol = ("abfs",)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("abfs://", "memory://"))

    store: dict[str, Any] = {}  # noqa: RUF012  (as in the base class)
    draw: random.Random | None = None
    n_faults = 0

    def _maybe_fail(self) -> None:
        if self.draw is not None and self.draw.random() < 1 / 3:
            type(self).n_faults += 1
            raise ConnectionResetError("the connection was lost")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self._maybe_fail()
        return super()._open(path, mode, **options)

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        self._maybe_fail()
        super().pipe_file(path, value, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self._maybe_fail()
        super().put_file(lpath, rpath, **options)


def test_shards_are_tried_until_all_are_there_and_no_half_one_is_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fsspec.config, "conf", {})
    fsspec.register_implementation("abfs", FailingFileSystem, clobber=True)
    files = FailingFileSystem()
    lines = [
        json.dumps({"id": n, "prompt": "q " * (n % 9), "responses": ["a", "b"]})
        for n in range(N_SHARDS * BLOCK)
    ]
    files.pipe_file("/in.jsonl", "\n".join(lines).encode())
    run = sharded(["abfs://in.jsonl"], "abfs://out/o.jsonl", n_shards=N_SHARDS)
    scorer = ShardScorer(run)
    FailingFileSystem.draw = random.Random(2)
    todo, n_rounds = set(range(N_SHARDS)), 0
    while todo:
        n_rounds += 1
        assert n_rounds < 50
        for shard in sorted(todo):
            (error,) = scorer({"shard": [shard]})["error"]
            assert "connection was lost" in error or not error
            if not error:
                todo.remove(shard)
            FailingFileSystem.draw, kept = None, FailingFileSystem.draw
            manifest = read_shard_manifest(shard_path(run.output, shard, N_SHARDS))
            assert (manifest is not None and manifest.finished) == (shard not in todo)
            FailingFileSystem.draw = kept
    FailingFileSystem.draw = None
    assert FailingFileSystem.n_faults >= 5
    parts = [shard_path(run.output, shard, N_SHARDS) for shard in range(N_SHARDS)]
    ids = [json.loads(line)["id"] for line in find_parts(parts).lines()]
    assert ids == list(range(N_SHARDS * BLOCK))  # none lost, none twice
