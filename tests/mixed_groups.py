"""Groups of every kind that a judge is trained on, for a comparison with the released trainer; always the same ones."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

WORDS = ["the", "red", "dog", "runs", "over", "two", "blue", "skies", "and", "it", "is", "even", "not", "odd"]
CLIPS = Path(__file__).parent.parent / "examples" / "clips"
SIZES = [(56, 56), (90, 60), (300, 200), (60, 400), (700, 100), (28, 28)]
"""Width and height of pictures, in pixels."""
WRITTEN = [
    ("What does this print?\n\n    print(1)", ["```\n1\n```", "1", "\n\n1\n", "It prints\t`1`."]),
    ("Wie heißt das? 这是什么?", ["Ein Käfer. 🐞", "一只甲虫", "Żuk…", "a — “beetle”"]),
    ("Say it twice.", ["it it", "it it", "it it "]),
    ("  Spaces around?  ", [" yes ", "yes", "yes\n\n\n", "  no"]),
]
"""Prompts and responses whose tokens depend on what stands beside them."""


def make_mixed(folder: Path) -> list[dict[str, Any]]:
    """Twenty groups of 2 to 8 responses: ten of text (two with long responses), seven with one to three pictures, three
    with a clip or a folder of frames; pictures are written to the folder. Without ties, which the released trainer
    decides at random.
    """
    draw = random.Random(7)
    records: list[dict[str, Any]] = [{"prompt": prompt, "responses": own} for prompt, own in WRITTEN]
    for n, n_words in ((2, 5), (8, 9), (3, 12), (7, 4), (4, 300), (3, 500)):
        records.append(_group(draw, n, n_words))
    for index, n_pictures in enumerate((1, 2, 1, 3, 1, 2, 1)):
        names = [folder / f"{index}-{number}.png" for number in range(n_pictures)]
        for number, name in enumerate(names):
            _draw_picture(name, seed=10 * index + number)
        records.append({**_group(draw, 2 + index % 4, 10), "images": [str(name) for name in names]})
    frames = folder / "frames"
    frames.mkdir()
    for number in range(3):
        _draw_picture(frames / f"frame_{number}.png", seed=100, shift=number)
    for clip in (CLIPS / "scene-1.mp4", CLIPS / "scene-3.mp4", frames):
        records.append({**_group(draw, 3, 10), "video": str(clip)})
    for record in records:
        n = len(record["responses"])
        record["rankings"] = draw.sample(range(1, n + 1), n)
    draw.shuffle(records)
    return records


def sizes(weight: Tensor) -> tuple[float, float]:
    """A weight in two numbers: its norm, and its product with sin(1), sin(2), … in memory order."""
    flat = weight.detach().flatten().double()
    return float(flat.norm()), float(flat @ torch.sin(torch.arange(1, len(flat) + 1).double()))


def _group(draw: random.Random, n: int, n_words: int) -> dict[str, Any]:
    def text(n_words: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(n_words)).capitalize() + draw.choice(".?!")

    return {"prompt": text(6), "responses": [text(draw.randint(n_words // 2, n_words)) for _ in range(n)]}


def _draw_picture(path: Path, *, seed: int, shift: int = 0) -> None:
    """Noise in colours, in grey or with a palette, by turns; `shift` makes the next frame of a clip of one."""
    width, height = SIZES[seed % len(SIZES)]
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(np.roll(pixels, 5 * shift, axis=1))
    mode = ("RGB", "L", "P")[seed % 3]
    (picture if mode == "RGB" else picture.convert(mode)).save(path)
