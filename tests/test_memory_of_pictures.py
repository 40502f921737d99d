"""Memory of a stream of large pictures: bounded by what is in work, not by how many there are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

N_PICTURES = 16

PROGRAM = """
    import sys
    from yoj_cli import Judge, read_groups

    def memory_mb(what):
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) >> 10

    judge = Judge.load("demo", device="cpu", quant="none")
    list(judge.score_groups(read_groups(sys.argv[1])))  # small ones: what is imported late is no picture's memory
    base = memory_mb("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    verdicts = list(judge.score_groups(read_groups(sys.argv[2])))
    assert all(hasattr(verdict, "scores") for verdict in verdicts)
    print(len(verdicts), memory_mb("VmHWM") - base)
"""


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_a_stream_of_pictures_of_12_megapixels_stays_under_its_bound(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    large = np.asarray(Image.fromarray(noise).resize((4000, 3000)))
    for name, pixels in (("small", noise), ("large", large)):
        lines = []
        for number in range(N_PICTURES):
            Image.fromarray(np.roll(pixels, number, axis=1)).save(tmp_path / f"{name}{number}.jpg")
            lines.append(json.dumps({"prompt": "q", "image": f"{name}{number}.jpg", "responses": ["a", "b"]}))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), "small.jsonl", "large.jsonl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    n_verdicts, above_mb = map(int, done.stdout.split())
    assert n_verdicts == N_PICTURES
    assert above_mb < 1500
