"""What is written down is true: generated pages are fresh, links lead somewhere, and the README's commands run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *ROOT.glob("*.md"),
    *(page for folder in ("docs", "tests", "examples", ".github") for page in (ROOT / folder).rglob("*.md")),
]
COMMAND = re.compile(r"^ *(?:\$ )?((?:pip install \. && )?yoj .*\bdemo\b.*?)(?: +#.*)?$", re.MULTILINE)
"""A line that runs the embedded judge, so that it needs no network; what installs the package first is left out."""

spec = importlib.util.spec_from_file_location("cli_page", ROOT / "docs" / "cli.py")
assert spec is not None
assert spec.loader is not None
cli_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli_page)


def commands() -> list[str]:
    """Each once; `yoj train` is run, and looked at, by test_examples."""
    found = dict.fromkeys(command.removeprefix("pip install . && ") for command in COMMAND.findall(README))
    return [command for command in found if not command.startswith("yoj train")]


def anchors(page: Path) -> set[str]:
    """What GitHub lets a link point at: headings in lower case, without punctuation, with dashes for spaces."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_of_commands_and_options_is_fresh() -> None:
    """`python docs/cli.py` writes it anew."""
    assert cli_page.PAGE.read_text(encoding="utf-8") == cli_page.render()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9]+/[a-z_0-9]+\.py)`", text))
    training = re.findall(r"\btrain/[a-z_]+\b(?!\.py)", text)
    missing = {name for name in named if not any((ROOT / top / name).is_file() for top in ("yoj_cli", ""))}
    assert not missing | {name for name in training if not (ROOT / "yoj_cli" / f"{name}.py").is_file()}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 200


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s:]+)\)", README)}
    assert set((ROOT / "docs").glob("*.md")) - linked == {ROOT / "docs" / "RELEASING.md"}  # for maintainers


def test_the_readme_has_commands_that_run() -> None:
    assert {command.split()[1] for command in commands()} == {"score", "rank", "bench-speed", "eval"}


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(command: str) -> None:
    if "jq" in command and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    bin_folder = Path(sys.executable).parent
    in_examples = "answers/a.txt" in command and "examples/answers" not in command
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT / "examples" if in_examples else ROOT,
        env={**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_the_readmes_python_runs() -> None:
    program, trainer = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    compile(trainer, "README.md", "exec")  # what it leaves to its reader runs in tests/test_rewards_trl.py
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    n_groups = len((ROOT / "examples" / "candidates.jsonl").read_text(encoding="utf-8").splitlines())
    assert len(done.stdout.splitlines()) == 1 + n_groups
    assert "candidates.jsonl" not in done.stdout  # a Failure names its file
