"""The scripts that measure are run by hand; that the package still has what they use is looked at here."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_imports_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("yoj_cli"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_page_beside_them_has_every_script(script: Path) -> None:
    page = (script.parent / "README.md").read_text(encoding="utf-8")
    assert f"`{script.name}`" in page
    assert f"python tests/benchmarks/{script.name}" in (
        ast.get_docstring(ast.parse(script.read_text())) or ""
    )
