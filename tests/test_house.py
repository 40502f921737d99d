"""The rules of the house: who may import whom, and what a cheap command must not load."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.processes import environment

PACKAGE = Path(__file__).parents[1] / "yoj_cli"
spec = importlib.util.spec_from_file_location("architecture", PACKAGE.parent / "docs" / "architecture.py")
assert spec is not None
assert spec.loader is not None
architecture = importlib.util.module_from_spec(spec)
spec.loader.exec_module(architecture)

ROOMS = tuple(architecture.ROOMS)
"""Each imports only from those before it."""

HEAVY = {"torch", "torchvision", "transformers", "peft", "bitsandbytes", "accelerate", "huggingface_hub"}


@cache
def modules() -> dict[str, Path]:
    files = (path for path in PACKAGE.rglob("*.py"))
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def layer_of(module: str) -> int:
    return ROOMS.index(module.split(".")[1])


def imports_of(module: str) -> Iterator[str]:
    """Every module that is imported anywhere in the file, also inside functions. Also for types only."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else node.module


def ours(module: str) -> set[str]:
    return {name for name in imports_of(module) if name.startswith("yoj_cli.")}


ALL = sorted(name for name in modules() if name not in ("yoj_cli", "yoj_cli.__main__"))


@pytest.mark.parametrize("module", ALL)
def test_a_layer_imports_only_from_those_before_it(module: str) -> None:
    later = {name for name in ours(module) if layer_of(name) > layer_of(module)}
    assert not later


@pytest.mark.parametrize(
    "module", [name for name in ALL if layer_of(name) < ROOMS.index(architecture.FIRST_WITH_TORCH)]
)
def test_torch_starts_at_the_files_of_models(module: str) -> None:
    assert not HEAVY & {name.split(".")[0] for name in imports_of(module)}


def test_the_picture_of_the_rooms_is_fresh() -> None:
    """`python docs/architecture.py` draws it anew."""
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.draw()


def test_every_room_and_every_step_of_a_record_is_there() -> None:
    found = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert found - {"__init__", "__main__"} == set(ROOMS)
    assert all((PACKAGE / f"{module}.py").is_file() for module in architecture.STEPS)


def test_there_is_no_circle() -> None:
    imports = {module: ours(module) for module in ALL}
    while imports:
        leaves = {module for module, imported in imports.items() if not imported & imports.keys()}
        assert leaves, f"a circle in {sorted(imports)}"
        imports = {module: imported for module, imported in imports.items() if module not in leaves}


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8")))


@pytest.mark.parametrize("word", ["utils", "common", "helpers", "manager", "misc", "base"])
def test_no_module_is_named_after_nothing(word: str) -> None:
    assert not [name for name in modules() if word in name.split(".")]


CHEAP = [
    ["--help"],
    ["--version"],
    [],
    *(
        [command, "--help"]
        for command in (
            "score",
            "rank",
            "train",
            "merge",
            "quantize",
            "bench-speed",
            "eval",
            "data",
            "report",
            "info",
            "serve",
        )
    ),
    ["serve", "--host", "0.0.0.0"],
    ["serve", "--api-key", "short"],
    ["votes"],
    ["votes", "--help"],
    *(["votes", command, "--help"] for command in ("rank", "sample", "explain")),
    ["calibrate", "--help"],
    ["calibrate", "x.jsonl"],
    ["calibrate", "nope.jsonl", "-o", "x"],
    ["votes", "rank", "nope.csv"],
    ["votes", "rank", "-", "--columns", "a"],
    ["votes", "sample", "--n", "1", "-"],
    ["nope"],
    ["score", "--nope"],
    ["score", "--quant", "3bit"],
    ["score", "--mode", "single", "--orders", "2", "x.jsonl"],
    ["score", "nope.jsonl"],
    ["score", "-", "-"],
    ["score", "-", "--media-root", "nope"],
    ["score", "-", "-o", "nope/nope"],
    ["rank"],
    ["rank", "-t", "a"],
    ["rank", "-p", "q", "-r", "nope.txt"],
    ["info", "--device", "gpu"],
    ["train"],
    ["merge"],
    ["merge", "demo"],
    ["quantize"],
    ["quantize", "demo", "-o", "x", "--dtype", "int4"],
    ["merge"],
    ["merge", "demo"],
    ["quantize"],
    ["quantize", "demo", "-o", "x", "--dtype", "int4"],
    ["eval"],
    ["eval", "--json", "--format", "markdown", "x.jsonl"],
    ["eval", "--list", "--compare", "a", "b"],
    ["eval", "--from", "a", "x.jsonl"],
    ["data"],
    ["data", "--list"],
    ["data", "nope", "-o", "x.jsonl"],
    ["data", "nectar", "-o", "x.jsonl", "--split", "2"],
    ["bench-speed", "--n", "0"],
    ["bench-speed", "nope.jsonl"],
    ["report"],
    ["report", "nope.jsonl"],
    ["report", "-", "--max-mb", "-1"],
    ["report", "a", "b", "c"],
    ["bench-speed", "--model", "demo", "--random-init", "tiny"],
]


def test_help_and_bad_usage_load_nothing_heavy(tmp_path: Path) -> None:
    program = """if True:
        import json, sys
        from yoj_cli.cli.main import main
        found = []
        for arguments in json.loads(sys.argv[1]):
            sys.argv = ["yoj", *arguments]
            try:
                main()
            except SystemExit as ended:
                heavy = {"torch", "transformers", "PIL", "rich.table", "numpy", "networkx", "fastapi", "uvicorn"}
                heavy &= set(sys.modules)
                found.append([arguments, ended.code, sorted(heavy)])
        print(json.dumps(found), file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(CHEAP)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    found = json.loads(done.stderr.splitlines()[-1])
    assert [arguments for arguments, _, _ in found] == CHEAP
    assert {code for _, code, _ in found} == {0, 2}
    assert not [row for row in found if row[2]]


def test_importing_the_library_loads_nothing_heavy() -> None:
    program = (
        "import sys, yoj_cli; print(sorted({'torch', 'transformers', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == "[]\n"
