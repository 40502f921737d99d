"""Drawn scenes with right and wrong descriptions: all that the demo judge knows about the world.

Everything here is a pure function of a `numpy.random.Generator`, and needs only NumPy and Pillow. `sample_group`
makes one group: a prompt, N descriptions of which exactly one is fully right, and what to draw.

No text-only cue: the N scenes described in a group are N variations on one unseen centre, and which of
them is drawn is decided by a uniform draw that nothing in the text depends on. A judge that does not look is
therefore right in 1 / N of the groups, whatever it reads into the words.
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

Kind = Literal["picture", "clip"]

SIDE_PX = 168
CELL_PX = SIDE_PX // 3
FPS = 16
MAX_THINGS = {"picture": 3, "clip": 2}
N_THINGS_SHARES = {"picture": (0.4, 0.4, 0.2), "clip": (0.6, 0.4)}
TOLD = {"picture": ("colour", "shape", "place"), "clip": ("colour", "shape", "motion")}
"""The facts that a description gives of each thing."""

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 90, 225),
    "yellow": (240, 205, 40),
    "purple": (150, 60, 190),
    "orange": (245, 135, 30),
    "black": (35, 35, 35),
}
DIAMETERS_PX = {"small": (28, 33), "big": (44, 50)}
PLACES = (
    *("top left", "top middle", "top right"),
    *("middle left", "center", "middle right"),
    *("bottom left", "bottom middle", "bottom right"),
)
MOTIONS = ("moves left", "moves right", "moves up", "moves down", "stays still", "grows", "shrinks")
STEPS = {"moves left": (-1, 0), "moves right": (1, 0), "moves up": (0, -1), "moves down": (0, 1)}
VALUES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "size": tuple(DIAMETERS_PX),
    "place": PLACES,
    "motion": MOTIONS,
}

PROMPTS: dict[Kind, tuple[str, ...]] = {
    "picture": (
        "Describe this image.",
        "Describe the picture.",
        "What is in this picture?",
        "What do you see?",
    ),
    "clip": ("Describe this video.", "Describe the clip.", "What happens in this video?", "What do you see?"),
}
OPENINGS: dict[Kind, tuple[str, ...]] = {
    "picture": (
        "",
        "",
        "",
        "There is ",
        "I see ",
        "The image shows ",
        "Sure! The picture shows ",
        "This is ",
    ),
    "clip": ("", "", "", "There is ", "I see ", "The video shows ", "Sure! The clip shows ", "Here is "),
}
MOTION_WORDS = {  # after "a red circle", and after an opening such as "I see a red circle"
    "moves left": (("moves left", "moves to the left"), ("moving left", "moving to the left")),
    "moves right": (("moves right", "moves to the right"), ("moving right", "moving to the right")),
    "moves up": (("moves up",), ("moving up",)),
    "moves down": (("moves down",), ("moving down",)),
    "stays still": (("stays still", "does not move"), ("staying still", "that does not move")),
    "grows": (("grows", "gets bigger"), ("growing", "getting bigger")),
    "shrinks": (("shrinks", "gets smaller"), ("shrinking", "getting smaller")),
}


@dataclass(frozen=True)
class Thing:
    """One coloured shape. `motion` is read in clips only, `size` and `place` in pictures only."""

    colour: str
    shape: str
    size: str
    place: str
    motion: str


@dataclass(frozen=True)
class Scene:
    """The facts of a picture or a clip, without how exactly it is drawn."""

    kind: Kind
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Mark:
    """After `end` characters of a text: does what is being said fit (`fits`), and did all so far (`right`)?"""

    end: int
    fits: bool
    right: bool


@dataclass(frozen=True)
class Response:
    """One answer, how many facts it gets wrong, and what could be known about it while reading."""

    text: str
    n_wrong: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Sprite:
    """A shape to paint: colour, and centre and diameter in pixels at the beginning and at the end."""

    shape: str
    colour: str
    rgb: tuple[int, int, int]
    start: tuple[float, float, float]
    stop: tuple[float, float, float]


@dataclass(frozen=True)
class Drawing:
    """All that is needed to paint any frame."""

    background: tuple[int, int, int]
    sprites: tuple[Sprite, ...]
    n_frames: int


@dataclass(frozen=True)
class SceneGroup:
    """A prompt with its N responses (exactly one has `n_wrong == 0`) and the scene they are about."""

    prompt: str
    responses: tuple[Response, ...]
    scene: Scene
    drawing: Drawing

    @property
    def best(self) -> int:
        """Index of the right response."""
        return next(i for i, response in enumerate(self.responses) if response.n_wrong == 0)

    @property
    def rankings(self) -> list[int]:
        """Ranks by number of wrong facts, 1 = right; ties share a rank (1, 2, 2, 4)."""
        wrong = [response.n_wrong for response in self.responses]
        return [1 + sum(other < mine for other in wrong) for mine in wrong]


def rng_for(split: Literal["train", "heldout"], seed: int, index: int) -> Generator:
    """The generator of one group. Splits never share a stream, whatever the seeds."""
    return np.random.default_rng((("train", "heldout").index(split), seed, index))


def sample_group(rng: Generator, kind: Kind, n_responses: int) -> SceneGroup:
    """N descriptions of N variations on one unseen scene; a uniform draw decides which variation is drawn.

    Args:
        kind: "picture" or "clip".
        n_responses: N, at least 2.
    """
    told = TOLD[kind]
    centre = sample_scene(rng, kind)
    variations: dict[frozenset[tuple[str, ...]], Scene] = {}
    while len(variations) < n_responses:
        scene = vary(rng, centre, told)
        variations.setdefault(what_is_told(scene, told), scene)
    scenes = list(variations.values())
    rng.shuffle(scenes)  # type: ignore[arg-type]
    truth = scenes[rng.integers(n_responses)]
    responses = tuple(describe(rng, scene, truth, told) for scene in scenes)
    prompts = PROMPTS[kind]
    prompt = prompts[0] if rng.random() < 0.7 else pick(rng, prompts)
    return SceneGroup(prompt, responses, truth, sample_drawing(rng, truth))


def sample_scene(rng: Generator, kind: Kind) -> Scene:
    """A valid scene: no two things share a cell, nor both colour and shape."""
    shares = N_THINGS_SHARES[kind]
    n_things = 1 + int(rng.choice(len(shares), p=shares))
    while True:
        scene = Scene(kind, tuple(sample_thing(rng) for _ in range(n_things)))
        if is_valid(scene):
            return scene


def sample_thing(rng: Generator) -> Thing:
    """Any thing."""
    return Thing(**{fact: pick(rng, values) for fact, values in VALUES.items()})


def pick(rng: Generator, values: tuple[str, ...]) -> str:
    """One of the values, all equally likely."""
    return values[rng.integers(len(values))]


def is_valid(scene: Scene) -> bool:
    """Whether the scene can be drawn and every thing in it can be told from the others."""
    names = {(thing.colour, thing.shape) for thing in scene.things}
    places = {thing.place for thing in scene.things}
    return 1 <= len(scene.things) <= MAX_THINGS[scene.kind] and len(names) == len(places) == len(scene.things)


def vary(rng: Generator, centre: Scene, told: tuple[str, ...]) -> Scene:
    """The centre with one to three changes."""
    n_changes = (1, 1, 2, 2, 3)[rng.integers(5)]
    scene = centre
    for _ in range(n_changes):
        changed = change_one(rng, scene, told)
        while not is_valid(changed):
            changed = change_one(rng, scene, told)
        scene = changed
    return scene


def change_one(rng: Generator, scene: Scene, told: tuple[str, ...]) -> Scene:
    """Change a fact, swap a fact between two things, leave a thing out or put one in. May be invalid."""
    things = list(scene.things)
    i = int(rng.integers(len(things)))
    how = rng.random()
    fact = pick(rng, told)
    if how < 0.15 and len(things) > 1:
        j = (i + 1) % len(things)
        mine, other = getattr(things[i], fact), getattr(things[j], fact)
        things[i], things[j] = replace(things[i], **{fact: other}), replace(things[j], **{fact: mine})
    elif how < 0.23 and len(things) > 1:
        del things[i]
    elif how < 0.31:
        things.append(sample_thing(rng))
    else:
        things[i] = replace(things[i], **{fact: pick(rng, VALUES[fact])})
    return Scene(scene.kind, tuple(things))


def what_is_told(scene: Scene, told: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """The told facts, whatever the order of the things."""
    return frozenset(tuple(getattr(thing, fact) for fact in told) for thing in scene.things)


def count_wrong(said: Scene, truth: Scene, told: tuple[str, ...]) -> int:
    """Wrong facts in a description, things matched to their best; a thing missing or made up is one."""
    few, many = sorted((said.things, truth.things), key=len)
    table = [[sum(getattr(a, fact) != getattr(b, fact) for fact in told) for b in many] for a in few]
    matched = min(
        sum(row[j] for row, j in zip(table, order, strict=True))
        for order in permutations(range(len(many)), len(few))
    )
    return matched + len(many) - len(few)


def describe(rng: Generator, said: Scene, truth: Scene, told: tuple[str, ...]) -> Response:
    """Say a scene in a style that has nothing to do with whether it is the true one."""
    place_first = "place" in told and rng.random() < 2 / 3
    opening = "" if place_first else pick(rng, OPENINGS[said.kind])
    text = opening
    marks: list[Mark] = []
    right = True
    for place_in_list, index in enumerate(rng.permutation(len(said.things))):
        if place_in_list:
            text += " and " if place_in_list == len(said.things) - 1 else ", "
        facts: dict[str, str] = {}
        for words, fact in phrase(rng, said.things[index], told, place_first, gerund=opening != ""):
            text += words
            if fact:
                facts[fact] = getattr(said.things[index], fact)
                fits = any(all(getattr(thing, f) == v for f, v in facts.items()) for thing in truth.things)
                marks.append(Mark(len(text), fits, right and fits))
        right = marks[-1].right
    n_wrong = count_wrong(said, truth, told)
    if rng.random() < 0.85:
        text += "."
    marks.append(Mark(len(text), marks[-1].fits, n_wrong == 0))
    return Response(text[0].upper() + text[1:], n_wrong, tuple(marks))


def phrase(
    rng: Generator, thing: Thing, told: tuple[str, ...], place_first: bool, gerund: bool
) -> list[tuple[str, str | None]]:
    """One thing in words, in pieces: (words, the fact they give if any)."""
    article = "an" if thing.colour == "orange" else "a"
    noun: list[tuple[str, str | None]] = [
        (article, None),
        (f" {thing.colour}", "colour"),
        (f" {thing.shape}", "shape"),
    ]
    if "motion" in told:
        return [*noun, (" " + pick(rng, MOTION_WORDS[thing.motion][int(gerund)]), "motion")]
    if place_first:
        return [(f"in the {thing.place}", "place"), (" ", None), *noun]
    return [*noun, (f" in the {thing.place}", "place")]


def sample_drawing(rng: Generator, scene: Scene) -> Drawing:
    """Where and how large exactly everything is, and on what background."""
    background = tuple(int(v) for v in rng.integers(222, 256, size=3))
    cells = picture_cells(scene) if scene.kind == "picture" else sample_paths(rng, scene)
    sprites = tuple(sample_sprite(rng, thing, *ends) for thing, ends in zip(scene.things, cells, strict=True))
    n_frames = 1 if scene.kind == "picture" else int(rng.integers(2 * FPS, 7 * FPS // 2 + 1))
    return Drawing(background, sprites, n_frames)  # type: ignore[arg-type]


Cell = tuple[int, int]


def picture_cells(scene: Scene) -> list[tuple[Cell, Cell]]:
    """(column, row) of every thing, twice: nothing moves in a picture."""
    cells = [(index % 3, index // 3) for index in (PLACES.index(thing.place) for thing in scene.things)]
    return [(cell, cell) for cell in cells]


def sample_paths(rng: Generator, scene: Scene) -> list[tuple[Cell, Cell]]:
    """First and last cell of every thing in a clip, such that no two things ever cross."""
    while True:
        paths = [sample_path(rng, thing.motion) for thing in scene.things]
        swept = [set(path_cells(*path)) for path in paths]
        if len(set.union(*swept)) == sum(len(cells) for cells in swept):
            return paths


def sample_path(rng: Generator, motion: str) -> tuple[Cell, Cell]:
    """First and last cell of one thing; moves go one or two cells far."""
    step_x, step_y = STEPS.get(motion, (0, 0))
    n_steps = int(rng.integers(1, 3))
    while True:
        x, y = (int(v) for v in rng.integers(0, 3, size=2))
        end = (x + n_steps * step_x, y + n_steps * step_y)
        if 0 <= end[0] < 3 and 0 <= end[1] < 3:
            return (x, y), end


def path_cells(start: Cell, stop: Cell) -> list[Cell]:
    """All cells that a thing passes over."""
    columns = range(min(start[0], stop[0]), max(start[0], stop[0]) + 1)
    rows = range(min(start[1], stop[1]), max(start[1], stop[1]) + 1)
    return [(x, y) for x in columns for y in rows]


def sample_sprite(rng: Generator, thing: Thing, start: Cell, stop: Cell) -> Sprite:
    """Put a thing somewhere in its cell, in a shade of its colour."""
    sizes = {"grows": ("small", "big"), "shrinks": ("big", "small")}.get(
        thing.motion, (thing.size, thing.size)
    )
    diameters = [int(rng.integers(low, high + 1)) for low, high in (DIAMETERS_PX[size] for size in sizes)]
    if sizes[0] == sizes[1] or (start == stop and thing.motion not in ("grows", "shrinks")):
        diameters[1] = diameters[0]
    room = (CELL_PX - max(diameters)) / 2
    shift_x, shift_y = rng.uniform(-room, room, size=2)
    ends = [((x + 0.5) * CELL_PX + shift_x, (y + 0.5) * CELL_PX + shift_y) for x, y in (start, stop)]
    shade = rng.integers(-14, 15, size=3)
    rgb = tuple(int(v) for v in np.clip(np.array(COLOURS[thing.colour]) + shade, 0, 255))
    return Sprite(thing.shape, thing.colour, rgb, (*ends[0], diameters[0]), (*ends[1], diameters[1]))  # type: ignore[arg-type]


def sprite_at(drawing: Drawing, sprite: Sprite, index: int) -> tuple[float, ...]:
    """Centre x, centre y and diameter in pixels of a sprite in frame `index`."""
    progress = index / max(drawing.n_frames - 1, 1)
    return tuple(a + (b - a) * progress for a, b in zip(sprite.start, sprite.stop, strict=True))


def draw_frame(drawing: Drawing, index: int = 0) -> np.ndarray:
    """Paint one frame: (SIDE_PX, SIDE_PX, 3) uint8."""
    canvas = np.empty((SIDE_PX, SIDE_PX, 3), np.uint8)
    canvas[:] = drawing.background
    for sprite in drawing.sprites:
        x, y, diameter = sprite_at(drawing, sprite, index)
        mask = stencil(sprite.shape, round(diameter))
        side = len(mask)
        left, top = (min(max(round(v - side / 2), 0), SIDE_PX - side) for v in (x, y))
        patch = canvas[top : top + side, left : left + side]
        patch[:] = (patch * (1 - mask) + np.array(sprite.rgb) * mask + 0.5).astype(np.uint8)
    return canvas


@cache
def stencil(shape: str, diameter: int) -> np.ndarray:
    """The shape's coverage of each pixel, antialiased: (diameter, diameter, 1) float32 in 0..1."""
    scale = 8
    side = diameter * scale
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).polygon([(x * side, y * side) for x, y in outline(shape)], fill=255)
    return np.asarray(image.reduce(scale), np.float32)[:, :, None] / 255


def outline(shape: str) -> list[tuple[float, float]]:
    """Corners in a unit square, y downwards."""
    if shape == "square":
        return [(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)]
    if shape == "triangle":
        return [(0.5, 0.04), (1.0, 0.94), (0.0, 0.94)]
    n_corners, inner = (10, 0.42) if shape == "star" else (64, 1.0)
    radii = [0.5 * (inner if corner % 2 else 1.0) for corner in range(n_corners)]
    angles = [2 * np.pi * corner / n_corners - np.pi / 2 for corner in range(n_corners)]
    return [
        (0.5 + r * float(np.cos(a)), 0.5 + r * float(np.sin(a))) for r, a in zip(radii, angles, strict=True)
    ]


def shown_frames(n_frames: int) -> list[tuple[float, int]]:
    """(instant in s, frame shown): every 0.5 s from 0, and the last frame at the clip's full duration."""
    duration_s = n_frames / FPS
    instants = [step / 2 for step in range(int(np.ceil(duration_s * 2)))]
    return [(t, min(int(t * FPS), n_frames - 1)) for t in instants] + [(duration_s, n_frames - 1)]
