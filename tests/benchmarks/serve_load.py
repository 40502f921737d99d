"""Put a `yoj serve` of its own under load: how long answers take, and what reading requests together is worth.

    python tests/benchmarks/serve_load.py
    python tests/benchmarks/serve_load.py --seconds 2 --rounds 1 --clients 8

Short texts, then groups with a picture: so many seconds by one client, which sends a group when it has the verdict of
the one before, and so many by all clients, in turn, so that a busy machine slows both alike. The clients run on one of
the cores, the server wherever it likes. Every answer is compared with the score that the group has alone. The last line
of standard output is one JSON document; the exit code is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"
GOALS = {"text": 2.5, "pictures": 1.5}
"""How many times as many groups a second all clients get as one does."""

MAX_DIFFERENCE = 5e-5
MAX_GROWTH = 0.10
WORDS = (
    "red",
    "blue",
    "small",
    "large",
    "circle",
    "square",
    "star",
    "left",
    "right",
    "above",
    "below",
    "near",
)


def text_group(draw: random.Random) -> dict[str, Any]:
    """A question and four short answers."""
    responses = [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(4)]
    return {"prompt": f"What is {draw.choice(WORDS)} of the {draw.choice(WORDS)}?", "responses": responses}


def picture_group(draw: random.Random) -> dict[str, Any]:
    """The same about one of the example pictures, which comes along."""
    picture = draw.choice(sorted(PICTURES.glob("*.png"))).read_bytes()
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    return {**text_group(draw), "prompt": "Describe this image.", "image": url}


@dataclass
class Load:
    """What some clients saw in some time."""

    n_clients: int
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    worst_difference: float = 0.0

    @property
    def per_s(self) -> float:
        return len(self.latencies_s) / self.seconds


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> dict[str, Any]:
    """One group over an open connection; as little work for the client's core as can be."""
    writer.write(
        b"POST /v1/groups HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    )
    writer.write(body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    answer: dict[str, Any] = json.loads(await reader.readexactly(length))
    assert head.startswith(b"HTTP/1.1 200"), answer
    return answer


async def client(
    port: int, groups: list[bytes], alone: list[list[float]], load: Load, until_s: float
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    draw = random.Random(id(writer))
    while time.perf_counter() < until_s:
        number = draw.randrange(len(groups))
        started = time.perf_counter()
        answer = await ask(reader, writer, groups[number])
        load.latencies_s.append(time.perf_counter() - started)
        if alone:
            found = (abs(a - b) for a, b in zip(answer["scores"], alone[number], strict=True))
            load.worst_difference = max(load.worst_difference, *found)
    writer.close()


async def put_load(
    port: int, groups: list[bytes], alone: list[list[float]], n_clients: int, seconds: float
) -> Load:
    """So many clients for so many seconds."""
    load, started = Load(n_clients), time.perf_counter()
    await asyncio.gather(*(client(port, groups, alone, load, started + seconds) for _ in range(n_clients)))
    load.seconds = time.perf_counter() - started
    return load


async def score_alone(port: int, groups: list[bytes]) -> list[list[float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    found = [(await ask(reader, writer, group))["scores"] for group in groups]
    writer.close()
    return found


@contextmanager
def server(model: str) -> Iterator[tuple[int, psutil.Process]]:
    """A server of its own: its port and its process."""
    command = [sys.executable, "-c", "from yoj_cli.__main__ import main; main()"]
    with tempfile.NamedTemporaryFile(
        "r"
    ) as log:  # a request is a line there, too many for a pipe that nobody reads
        process = subprocess.Popen([*command, "serve", "-m", model, "--port", "0"], stderr=log)
        try:
            said = ""
            while "ready after" not in said:
                assert process.poll() is None, said
                time.sleep(0.2)
                said = Path(log.name).read_text()
            port = int(said.partition(" answers")[0].rpartition(":")[2])
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=40)


def measure(kind: str, port: int, process: psutil.Process, options: argparse.Namespace) -> dict[str, Any]:
    """One kind of groups: both loads in turn."""
    draw = random.Random(0)
    make = picture_group if kind == "pictures" else text_group
    groups = [json.dumps(make(draw)).encode() for _ in range(options.groups)]
    alone = asyncio.run(score_alone(port, groups))
    asyncio.run(
        put_load(port, groups, alone, options.clients, options.seconds)
    )  # until memory is what it will be
    before = process.memory_info().rss
    loads: dict[int, list[Load]] = {1: [], options.clients: []}
    for _ in range(options.rounds):
        for n_clients, found in loads.items():
            found.append(asyncio.run(put_load(port, groups, alone, n_clients, options.seconds)))
    ratios = [many.per_s / one.per_s for one, many in zip(loads[1], loads[options.clients], strict=True)]
    figures = {
        "kind": kind,
        "ratio_median": round(statistics.median(ratios), 2),
        "ratios": [round(each, 2) for each in ratios],
        "worst_difference": max(load.worst_difference for each in loads.values() for load in each),
        "rss_before_mb": before >> 20,
        "rss_after_mb": process.memory_info().rss >> 20,
        "loads": [summarize(found) for found in loads.values()],
    }
    for each in figures["loads"]:
        sys.stdout.write(f"{kind:>8} {json.dumps(each)}\n")
    return figures


def summarize(loads: list[Load]) -> dict[str, Any]:
    seen = sorted(latency for load in loads for latency in load.latencies_s)
    return {
        "clients": loads[0].n_clients,
        "groups": len(seen),
        "groups_per_s": round(len(seen) / sum(load.seconds for load in loads), 1),
        **{f"p{p}_ms": round(1000 * seen[min(len(seen) * p // 100, len(seen) - 1)], 1) for p in (50, 95, 99)},
    }


def misses(figures: dict[str, Any]) -> list[str]:
    """The goals that were not reached."""
    kind, growth = figures["kind"], figures["rss_after_mb"] / figures["rss_before_mb"] - 1
    found = []
    if figures["ratio_median"] < GOALS[kind]:
        found.append(f"{kind}: {figures['ratio_median']} times as many, {GOALS[kind]} wanted")
    if figures["worst_difference"] > MAX_DIFFERENCE:
        found.append(f"{kind}: a score moved by {figures['worst_difference']}")
    if growth > MAX_GROWTH:
        found.append(f"{kind}: memory grew by {growth:.0%}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5, help="of each load")
    parser.add_argument("--rounds", type=int, default=5, help="of both loads in turn")
    parser.add_argument("--groups", type=int, default=50, help="different groups of a kind")
    parser.add_argument("--kinds", default="text,pictures")
    options = parser.parse_args()
    with server(options.model) as (port, process):
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        found = [measure(kind, port, process, options) for kind in options.kinds.split(",")]
    missed = [each for figures in found for each in misses(figures)]
    sys.stdout.write(json.dumps({"measured": found, "missed": missed}) + "\n")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
