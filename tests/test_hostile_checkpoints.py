"""A stranger's checkpoint ends in exit 3 and the file's name, within limits of memory and time set from outside."""

from __future__ import annotations

import re

import pytest

from tests.conftest import PARITY
from tests.hostile_checkpoints import attacks, make
from tests.limited import load_each

MERGED = PARITY / "checkpoint"
SECONDS, MEGABYTES = 25, 500
"""Of the slowest attack (what never ends is stopped after 5 s) and the largest, with room for a busy machine."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_hostile_checkpoint_is_refused_by_name_in_bounded_time_and_memory(adapter_checkpoint, tmp_path):
    names = list(attacks())
    folders = [
        make(name, adapter_checkpoint, MERGED, tmp_path / str(place)) for place, name in enumerate(names)
    ]
    wrong = []
    for name, said in zip(names, load_each(folders), strict=True):
        expected = attacks()[name][2]
        held = said["exit_code"] == 3 and re.search(expected, said["message"])
        if not held or said["seconds"] > SECONDS or said["grown_mb"] > MEGABYTES:
            wrong.append((name, said))
    assert not wrong, "\n".join(map(str, wrong))
    assert len(names) > 80
