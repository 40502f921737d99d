"""What the package asks for, and the versions that it was tested with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = [
    required
    for required in map(Requirement, [*PROJECT["dependencies"], *EXTRAS["dev"], *EXTRAS["eval"]])
    if required.name != PROJECT["name"]
]
TESTED = {
    line.split("==")[0].lower().replace("_", "-"): Version(line.split("==")[1])
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}


@pytest.mark.parametrize("required", REQUIRED, ids=lambda required: required.name)
def test_a_dependency_was_tested_within_its_range_and_has_a_floor(required: Requirement) -> None:
    assert any(each.operator == ">=" for each in required.specifier)
    if required.name == "tomli":  # for Python 3.10 alone
        return
    assert TESTED[required.name] in required.specifier


@pytest.mark.parametrize("name", ["torch", "transformers", "peft", "huggingface-hub", "typer", "av"])
def test_what_changes_between_majors_has_a_ceiling(name: str) -> None:
    (required,) = (each for each in REQUIRED if each.name == name)
    assert any(re.fullmatch(r"<\d+", str(each)) for each in required.specifier)
