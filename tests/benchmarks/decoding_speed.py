"""What decoding pictures in processes of their own costs, against decoding them in this one: paired, in turns.

    python tests/benchmarks/decoding_speed.py [--pictures 500] [--threads 4] [--rounds 5]

The pictures are made here: photograph-like noise of many scales, three JPEG to one PNG, 200 to 700 KB each. In
processes they are read as a group's are, header and room for them included. Both ways go through the same threads, and
their pixels' digests are compared. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from yoj_cli.groups import Media
from yoj_cli.media.budget import load_group
from yoj_cli.media.decoder_pool import MAX_DECODERS
from yoj_cli.media.load import Picture, close
from yoj_cli.media.pictures import picture_digest, read_small_picture

SIZES = ((1024, 768), (1280, 960), (1600, 1067), (800, 1200))


def make_pictures(folder: Path, n_pictures: int) -> list[Path]:
    """Pictures that pack like photographs do: noise whose power falls with its frequency."""
    random = np.random.default_rng(0)
    bases = []
    for width, height in SIZES:
        picture = np.full((height, width, 3), 128, np.float32)
        for scale in (1, 2, 4, 8, 16, 32, 64):
            small = random.normal(0, 4 * scale**0.5, (-(-height // scale), -(-width // scale), 3))
            picture += small.repeat(scale, 0).repeat(scale, 1)[:height, :width]
        bases.append(np.clip(picture, 0, 255).astype(np.uint8))
    paths = []
    for index in range(n_pictures):
        pixels = np.roll(bases[index % len(SIZES)], 7 * index, axis=index % 2)
        if index % 4 == 3:
            image, name, options = Image.fromarray(pixels[::2, ::2]), f"{index}.png", {"compress_level": 1}
        else:
            image, name, options = Image.fromarray(pixels), f"{index}.jpg", {"quality": 85}
        image.save(folder / name, **options)
        paths.append(folder / name)
    return paths


def decode_here(path: Path) -> str:
    with open(path, "rb") as file:
        image = read_small_picture(file, where=str(path), max_pixels=10**8, small_pixels=10**8)
    assert isinstance(image, Image.Image)
    return picture_digest(image)


def decode_there(path: Path) -> str:
    (picture,) = load_group([Media("image", str(path))])
    assert isinstance(picture, Picture)
    return picture.digest


def seconds(
    decode: Callable[[Path], str], paths: list[Path], threads: ThreadPoolExecutor
) -> tuple[float, list[str]]:
    started = time.perf_counter()
    digests = list(threads.map(decode, paths))
    return time.perf_counter() - started, digests


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here, there = [], []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.threads) as threads:
        paths = make_pictures(Path(folder), options.pictures)
        n_bytes = sum(path.stat().st_size for path in paths)
        for way in (decode_here, decode_there):  # files in the page cache, decoders started
            list(threads.map(way, paths[: len(paths) // 5 + 1]))
        for _ in range(options.rounds):
            seconds_here, digests_here = seconds(decode_here, paths, threads)
            seconds_there, digests_there = seconds(decode_there, paths, threads)
            if digests_here != digests_there:
                sys.exit("the two ways give different pixels")
            here.append(seconds_here)
            there.append(seconds_there)
            sys.stderr.write(f"here {seconds_here:.2f} s, in processes {seconds_there:.2f} s\n")
    close()
    ratios = [theirs / ours for theirs, ours in zip(there, here, strict=True)]
    found = {
        "n_pictures": len(paths),
        "mean_bytes": n_bytes // len(paths),
        "n_threads": options.threads,
        "n_decoders": MAX_DECODERS,
        "here_s": statistics.median(here),
        "in_processes_s": statistics.median(there),
        "ratio": statistics.median(ratios),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
