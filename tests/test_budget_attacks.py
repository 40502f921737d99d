"""Hostile lines in a process of its own, its memory and time watched from outside: each costs its own group."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from tests.processes import YOJ, environment

GOOD = {"prompt": "What is it?", "images": ["good.png"], "responses": ["red", "blue"]}
MAX_BYTES = 3_000_000_000
"""Of any process; the demo judge with its libraries takes a third of that."""
MAX_S = 120
"""For all groups together, once the judge is loaded."""


class Watched:
    """A command with what its processes took at most, each by itself."""

    def __init__(self, *arguments: object, cwd: Path, timeout_s: float = 280) -> None:
        self.process = subprocess.Popen(
            [*YOJ, *map(str, arguments)],
            cwd=cwd,
            env=environment(OMP_NUM_THREADS="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.max_bytes = 0
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        self.out, self.err = self.process.communicate(timeout=timeout_s)
        watcher.join()
        self.code = self.process.returncode

    def _watch(self) -> None:
        try:
            root = psutil.Process(self.process.pid)
            while self.process.poll() is None:
                for each in (root, *root.children(recursive=True)):
                    try:
                        self.max_bytes = max(self.max_bytes, each.memory_info().rss)
                    except psutil.NoSuchProcess:
                        continue
                time.sleep(0.1)
        except psutil.NoSuchProcess:
            return


def draw_files(folder: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(folder / "good.png")
    Image.new("1", (9_000, 9_000)).save(folder / "bits.png")  # 81 MP in some 10 KB
    Image.new("1", (7_000, 7_000)).save(folder / "large.png")  # 49 MP, within the limit
    for number in range(4):
        Image.new("1", (7_000, 7_000 - number)).save(folder / f"large-{number}.png")


def hostile_lines() -> Iterator[tuple[str, str]]:
    """Lines, and what is said of each."""
    words = "The quick brown fox jumps over the lazy dog. " * 30_000  # 1.35 MB

    def line(**fields: Any) -> str:
        return json.dumps({**GOOD, **fields})

    yield line(responses=["a" * 10_000_000, "b"]), "more than 24,576 tokens"
    yield line(responses=[words * 8, "b"]), "more than 24,576 tokens"
    yield line(prompt="的一是不" * 1_000_000), "more than 24,576 tokens"
    yield line(responses=[words[:90_000]] * 500), "tokens long, over the limit of 24576"
    yield line(x="y" * (65 << 20)), "--max-line-mb"
    yield '{"prompt": "q", "responses": ["a"], "x": [' + "{}," * 9_000_000 + "{}]}", "--max-line-values"
    yield '{"x": ' + "[" * 900_000 + "}", "nested more than 100 deep"
    yield '{"x": ' + "7" * 20_000_000 + "}", "thousands of digits"
    yield line(responses=[""] * 400_000), "--max-responses"
    yield line(images=["good.png"] * 400_000), "--max-media"
    yield line(images=["bits.png"]), "--max-picture-mp"
    yield line(images=["large.png"] * 60), "--max-group-mp"
    yield line(images=[f"large-{number}.png" for number in range(4)]), "--max-group-mp"


@pytest.mark.alone
@pytest.mark.slow
def test_hostile_lines_cost_their_own_groups_and_little_else(tmp_path: Path) -> None:
    draw_files(tmp_path)
    good, hostile = json.dumps(GOOD), list(hostile_lines())
    (tmp_path / "data.jsonl").write_text("".join(f"{line}\n{good}\n" for line, _ in hostile))
    judge = ("-m", "demo", "--device", "cpu")
    found = Watched("score", "data.jsonl", *judge, "--on-error", "skip", "--json", cwd=tmp_path)
    assert found.code == 1, found.err[-2000:]
    results = [json.loads(line) for line in found.out.splitlines()]
    assert ["scores" in each for each in results] == [False, True] * len(hostile)
    for (_, what), result in zip(hostile, results[::2], strict=True):
        assert what in result["error"]["message"]
    assert found.max_bytes < MAX_BYTES
    seconds = re.search(r"· ([\d.]+) s, ", found.err)
    assert seconds
    assert float(seconds[1]) < MAX_S
