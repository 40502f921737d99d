"""Pictures with one or two shapes, and descriptions that are near misses of each other.

The world and the words are those of `../demo_judge/scenes.py`. As there, a group's N descriptions are of N variations
on one scene that is never shown, and a uniform draw decides which of them is drawn: the text alone tells nothing.
"""

import json
import sys
from pathlib import Path

from numpy.random import Generator

sys.path.append(str(Path(__file__).parents[1] / "demo_judge"))

import scenes
from make_data import write_group

N_THINGS = (1, 2)
TOLD = scenes.TOLD["picture"]


def told(scene: scenes.Scene) -> frozenset[tuple[str, ...]]:
    """What a description gives of a scene, whatever the order of its things."""
    return scenes.what_is_told(scene, TOLD)


def is_drawable(scene: scenes.Scene) -> bool:
    """No two things share a cell, nor both colour and shape."""
    names = {(thing.colour, thing.shape) for thing in scene.things}
    return len(names) == len({thing.place for thing in scene.things}) == len(scene.things)


def sample_scene(rng: Generator) -> scenes.Scene:
    """A picture with as many things as N_THINGS allows."""
    n_things = N_THINGS[rng.integers(len(N_THINGS))]
    while True:
        scene = scenes.Scene("picture", tuple(scenes.sample_thing(rng) for _ in range(n_things)))
        if is_drawable(scene):
            return scene


def near_miss(rng: Generator, centre: scenes.Scene) -> scenes.Scene:
    """The centre with one change: another colour, shape or place, or one of them swapped between two things."""
    while True:
        scene = scenes.change_one(rng, centre, TOLD)
        if len(scene.things) == len(centre.things) and scene != centre and is_drawable(scene):
            return scene


def sample_group(rng: Generator, n_responses: int) -> scenes.SceneGroup:
    """N descriptions of N near misses of one unseen scene; a uniform draw decides which of them is drawn."""
    centre = sample_scene(rng)
    variations: dict[frozenset[tuple[str, ...]], scenes.Scene] = {}
    while len(variations) < n_responses:
        scene = near_miss(rng, centre)
        variations.setdefault(told(scene), scene)
    said = list(variations.values())
    rng.shuffle(said)  # type: ignore[arg-type]
    truth = said[rng.integers(n_responses)]
    responses = tuple(scenes.describe(rng, scene, truth, TOLD) for scene in said)
    return scenes.SceneGroup(
        scenes.PROMPTS["picture"][0], responses, truth, scenes.sample_drawing(rng, truth)
    )


def write_groups(out: Path, n_groups: int, n_responses: tuple[int, ...], split: str, seed: int) -> Path:
    """Write `groups.jsonl` and its pictures; what is there already stays.

    Args:
        n_responses: sizes of groups, all equally likely.
        split: "train" or "heldout", which never share a stream of random numbers.
    """
    path = out / "groups.jsonl"
    if path.exists():
        return path
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(n_groups):
        rng = scenes.rng_for(split, 1000 + seed, index)  # type: ignore[arg-type]
        n = n_responses[rng.integers(len(n_responses))]
        lines.append(json.dumps(write_group(out, index, sample_group(rng, n))) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
