"""The package as a library: cheap to import, typed, and the same judge."""

from __future__ import annotations

import subprocess
import sys

import pytest

import yoj_cli


def test_importing_the_package_imports_no_torch():
    code = "import yoj_cli, sys; print([name for name in ('torch', 'transformers', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there():
    assert yoj_cli.Judge.load
    assert yoj_cli.Verdict
    assert {"Judge", "Verdict", "__version__"} <= set(dir(yoj_cli))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Judgement'"):
        yoj_cli.Judgement  # noqa: B018
