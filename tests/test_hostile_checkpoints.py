"""A stranger's checkpoint ends in exit 3 and the file's name, within limits of memory and time set from outside."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.conftest import PARITY
from tests.hostile_checkpoints import CONFIG, attacks, edit, make
from tests.limited import load_each
from yoj_cli import Judge
from yoj_cli.errors import ModelError

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


def test_a_configuration_that_fails_with_the_first_group_is_the_checkpoints_fault(qwen_checkpoint, tmp_path):
    folder = shutil.copytree(qwen_checkpoint, tmp_path / "judge")
    edit(CONFIG, "text_config", "rope_parameters", "mrope_section", value=None)(folder)
    with Judge.load(folder, device="cpu") as judge, pytest.raises(ModelError) as failed:
        judge.score(prompt="Which?", responses=["a", "b"])
    assert str(folder) in str(failed.value)
    assert "the backbone cannot read the group: TypeError" in str(failed.value)


def test_a_token_without_a_row_is_refused_before_the_device_looks_it_up(tmp_path):
    folder = shutil.copytree(MERGED, tmp_path / "judge")
    edit("tokenizer_config.json", "bos_token", value="<|nowhere|>")(folder)
    with Judge.load(folder, device="cpu") as judge, pytest.raises(ModelError, match="600 rows") as failed:
        judge.score(prompt="Which?", responses=["a", "b"])
    assert str(folder) in str(failed.value)
