"""Checkpoints of strangers, each loaded in a process with limits from outside: python -m tests.limited FOLDER…

One process imports the libraries and forks for each folder, so that a hundred attacks take seconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.processes import ROOT, environment

LIMIT_S = 40
EXTRA_BYTES = 2 << 30
"""Above what the process has when the libraries are imported: what the issue of a hostile file may cost."""


def load_each(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Load each folder as a judge, in its own limited process.

    Returns:
        For each: `exit_code` and `message` of the error, 0 and "" where it loaded; `seconds`; `grown_mb`, peak memory
        above the libraries.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.limited", *map(str, folders)],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"),
        capture_output=True,
        text=True,
        timeout=880,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(found) == len(folders), done.stderr[-3000:]
    return found


def _load(folder: str, reply: int) -> None:
    """The forked process: tell how loading ends."""
    from yoj_cli import Judge
    from yoj_cli.errors import YojError

    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + EXTRA_BYTES, virtual + EXTRA_BYTES))
    signal.alarm(LIMIT_S)
    before, start = _peak_mb(), time.monotonic()
    try:
        Judge.load(folder, device="cpu", quant="none", dtype="float32")
        code, message = 0, ""
    except YojError as error:
        code, message = int(error.exit_code), str(error)
    except BaseException as error:
        code, message = 70, f"{type(error).__name__}: {error}"
    said = {"exit_code": code, "message": message, "seconds": time.monotonic() - start}
    os.write(reply, json.dumps({**said, "grown_mb": _peak_mb() - before}).encode() + b"\n")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def warm_up() -> None:
    """Import what loading needs; a process that forks must have one thread."""
    import torch

    from yoj_cli import Judge

    torch.set_num_threads(1)
    Judge.load("demo", device="cpu").close()


def load_forked(folder: str) -> dict[str, Any]:
    """What `load_each` says of one folder, from a process forked off this one."""
    threads = {thread.name for thread in threading.enumerate()} - {"MainThread"}
    assert not threads, f"a fork takes no threads along: {threads}"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            _load(folder, writing)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) or not said:
        return {"exit_code": -os.WTERMSIG(status), "message": "", "seconds": 0.0, "grown_mb": 0.0}
    found: dict[str, Any] = json.loads(said)
    return found


def main(folders: Sequence[str]) -> None:
    warm_up()
    for folder in folders:
        print(json.dumps(load_forked(folder)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
