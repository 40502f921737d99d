"""The policy's world: the demo's pictures, what is asked about them, and whether an answer is true.

Scenes, drawings and descriptions are those of `../demo_judge/scenes.py`. What is new is the way back: `parse_caption`
reads a caption by the grammar that `scenes.describe` writes, so that its truth is known without any judge.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from numpy.random import Generator
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "demo_judge"))

import scenes

TOLD = scenes.TOLD["picture"]
PROMPT = scenes.PROMPTS["picture"][0]
COUNT = "How many shapes are there?"
NUMBERS = ("One.", "Two.")
"""Pictures have one or two shapes, so that a small policy can learn them in minutes."""
NOTHING = "Nothing."
STREAMS = {
    "pretrain": ("train", 71),
    "label": ("train", 72),
    "grpo": ("train", 73),
    "judge": ("train", 1),
    "test": ("heldout", 70),
}
"""Split and seed of each use of scenes: none sees another's pictures."""

_COLOUR, _SHAPE, _PLACE = ("|".join(options) for options in (scenes.COLOURS, scenes.SHAPES, scenes.PLACES))
_PLACE_FIRST = re.compile(rf"in the (?P<place>{_PLACE}) an? (?P<colour>{_COLOUR}) (?P<shape>{_SHAPE})")
_PLACE_LAST = re.compile(rf"an? (?P<colour>{_COLOUR}) (?P<shape>{_SHAPE}) in the (?P<place>{_PLACE})")
_OPENING = re.compile(
    "|".join(sorted((re.escape(o) for o in set(scenes.OPENINGS["picture"])), key=len)[::-1])
)


@dataclass(frozen=True)
class Question:
    """Something asked about a picture, with its true answer; `kind` is what tables call it."""

    kind: Literal["caption", "count", "place"]
    text: str
    answer: str


def rng_for(stream: str, index: int) -> Generator:
    """The generator of one scene of a stream."""
    split, seed = STREAMS[stream]
    return scenes.rng_for(split, seed, index)  # type: ignore[arg-type]


def sample_picture(rng: Generator) -> tuple[scenes.Scene, scenes.Drawing]:
    """A scene with one or two shapes, and how it is drawn."""
    scene = scenes.sample_scene(rng, "picture")
    while len(scene.things) > len(NUMBERS):
        scene = scenes.sample_scene(rng, "picture")
    return scene, scenes.sample_drawing(rng, scene)


def paint(drawing: scenes.Drawing) -> Image.Image:
    """The picture, SIDE_PX square."""
    return Image.fromarray(scenes.draw_frame(drawing))


def caption(rng: Generator, scene: scenes.Scene) -> Question:
    """A true description, phrased at random."""
    return Question("caption", PROMPT, scenes.describe(rng, scene, scene, TOLD).text)


def count(scene: scenes.Scene) -> Question:
    """How many shapes there are. Never rewarded: does the policy keep what it could do?"""
    return Question("count", COUNT, NUMBERS[len(scene.things) - 1])


def place(rng: Generator, scene: scenes.Scene) -> Question:
    """What is in one place, half of the time a place where something is. Never rewarded either."""
    taken = {thing.place: thing for thing in scene.things}
    where = scenes.pick(rng, tuple(taken) if rng.random() < 0.5 else scenes.PLACES)
    thing = taken.get(where)
    article = "An" if thing and thing.colour == "orange" else "A"
    return Question(
        "place",
        f"What is in the {where}?",
        f"{article} {thing.colour} {thing.shape}." if thing else NOTHING,
    )


def parse_caption(text: str) -> scenes.Scene | None:
    """What a caption says, size and motion left aside; None where it is no sentence of this world."""
    text = text.strip().removesuffix(".")
    for written in (text, text[:1].lower() + text[1:]):
        opening = _OPENING.match(written)
        said = _parse_things(written[opening.end() :]) if opening else None
        if said:
            return said
    return None


def _parse_things(text: str) -> scenes.Scene | None:
    things = []
    for part in re.split(", | and ", text):
        found = _PLACE_FIRST.fullmatch(part) or _PLACE_LAST.fullmatch(part)
        if not found:
            return None
        things.append(scenes.Thing(size="", motion="", **found.groupdict()))
    return scenes.Scene("picture", tuple(things))


def count_wrong(text: str, truth: scenes.Scene) -> int | None:
    """Facts that a caption gets wrong, a shape missing or made up being one; None where it cannot be read."""
    said = parse_caption(text)
    return None if said is None else scenes.count_wrong(said, truth, TOLD)


def is_true(text: str, truth: scenes.Scene) -> bool:
    """Whether a caption can be read and gets every fact right."""
    return count_wrong(text, truth) == 0
