"""Checkpoint folders with a value or some bytes changed: they load, or end in exit 3; each in a process of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.conftest import PARITY
from tests.fuzz.target import Target
from tests.limited import load_forked

MERGED = PARITY / "checkpoint"
FILES = sorted(path.name for path in MERGED.iterdir() if path.is_file())
TEXTS = [name for name in FILES if name.endswith(".json")]

VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1,
        2,
        3,
        7,
        10**6,
        10**9,
        2**63,
        10**30,
        0.5,
        -1e9,
        1e308,
        "",
        "a",
        "float16",
        "cuda",
        "/dev/zero",
    ),
    *([], {}, [0], [[]], {"a": 1}, "x" * 10_000, [1] * 1000, "auto", "../..", "<|im_end|>", "(a+)+$"),
]


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """Which file, and what is changed in it."""
    if draw(st.integers(0, 2)):
        name = draw(st.sampled_from(TEXTS))
        steps = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
        return {
            "file": name,
            "steps": steps,
            "value": draw(st.sampled_from(VALUES)),
            "deletes": draw(st.integers(0, 5)) == 0,
        }
    edits = draw(
        st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4)
    )
    return {"file": draw(st.sampled_from(FILES)), "edits": edits, "cut": draw(st.none() | st.floats(0, 1))}


def apply(change: dict[str, Any], folder: Path) -> None:
    path = folder / change["file"]
    if "steps" in change:
        raw = json.loads(path.read_text(encoding="utf-8"))
        inner = raw
        for at, step in enumerate(change["steps"]):
            places: Any = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not places:
                return
            place = places[step % len(places)]
            if (
                at + 1 == len(change["steps"])
                or not isinstance(inner[place], (dict, list))
                or not inner[place]
            ):
                if change["deletes"]:
                    del inner[place]
                else:
                    inner[place] = change["value"]
                break
            inner = inner[place]
        path.write_text(json.dumps(raw), encoding="utf-8")
        return
    content = bytearray(path.read_bytes())
    for place, new, n_old in change["edits"]:
        start = int(place * len(content))
        content[start : start + n_old] = new
    if change["cut"] is not None:
        del content[int(change["cut"] * len(content)) :]
    path.write_bytes(content)


def check_checkpoint(change: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "judge"
        shutil.copytree(MERGED, folder)
        apply(change, folder)
        said = load_forked(str(folder))
    assert said["exit_code"] in (0, 3), said
    assert said["grown_mb"] < 1000, said
    assert said["seconds"] < 30, said


CHECKPOINTS = Target("checkpoints", changes(), check_checkpoint, share=1.5, shrinks=False)
