"""Memory of a stream of large pictures: bounded by what is in work, not by how many there are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.processes import YOJ, environment

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


def draw_large_media(folder: Path) -> list[dict[str, Any]]:
    """Pairs of pictures of 49 megapixels, and clips of 16 frames in 4K, in turn."""
    noise = np.random.default_rng(0).integers(0, 255, (70, 70, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(noise).resize((7000, 7000), Image.Resampling.NEAREST))
    Image.fromarray(pixels).save(folder / "a.jpg")
    Image.fromarray(pixels).save(folder / "b.png", compress_level=1)
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 3840, 2160, "yuv420p"
        for number in range(16):
            frame = np.ascontiguousarray(np.roll(pixels, 40 * number, axis=1)[:2160, :3840])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    lines = []
    for number in range(3):
        shutil.copy(folder / "clip.mp4", folder / f"{number}.mp4")
        lines += [{"video": f"{number}.mp4"}, {"images": ["a.jpg", "b.png"]}]
    return [{**line, "responses": ["a", "b"]} for line in lines]


def peak_mb(*arguments: object, cwd: Path) -> int:
    """The most that a command and its processes took together; what they share counts once.

    With one thread torch copies a picture's floats before it scales them, which takes 580 MB more.
    """
    process = subprocess.Popen([*YOJ, *map(str, arguments)], cwd=cwd, env=environment(OMP_NUM_THREADS="2"))
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        total = 0
        with suppress(psutil.NoSuchProcess):
            for each in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += each.memory_full_info().pss
        peak = max(peak, total)
        time.sleep(0.05)
    assert process.returncode == 0
    return peak >> 20


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(psutil.Process().memory_full_info(), "pss"), reason="needs Linux")
def test_a_stream_of_the_largest_pictures_and_clips_takes_less_than_2_gb_above_the_judge(
    tmp_path: Path,
) -> None:
    lines = {"large": draw_large_media(tmp_path), "small": [{"prompt": "q", "responses": ["a", "b"]}]}
    for name, each in lines.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in each))
    options = ("-m", "demo", "--device", "cpu", "-q", "-o")
    judge_mb, all_mb = (
        peak_mb("score", f"{name}.jsonl", *options, name, cwd=tmp_path) for name in ("small", "large")
    )
    assert len((tmp_path / "large").read_text().splitlines()) == len(lines["large"])
    assert all_mb - judge_mb < 2048
