"""The completion scripts in the repository are what the command prints today, and they complete."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "completions"
spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
assert spec is not None
assert spec.loader is not None
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


@pytest.mark.parametrize("shell", generate.NAMES)
def test_the_script_is_fresh(shell):
    assert (FOLDER / generate.NAMES[shell]).read_text(encoding="utf-8") == generate.render(shell)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("yoj ", {"score", "rank", "train", "info"}),
        ("yoj score --qu", {"--quant", "--quiet"}),
        ("yoj score --quant ", {"4bit"}),
    ],
)
def test_bash_completes_commands_options_and_values(words, wanted, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    command = tmp_path / "yoj"
    command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from yoj_cli.cli.main import main; main()' \"$@\"\n"
    )
    command.chmod(0o755)
    count = len(words.split(" ")) - 1
    script = (
        f"source {FOLDER / 'yoj.bash'}; COMP_WORDS=({words} ''); COMP_CWORD={count}; "
        "_yoj_completion yoj; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    if not words.endswith(" "):
        script = script.replace(" '')", ")")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert wanted <= set(done.stdout.split())
