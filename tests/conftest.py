"""Shared fixtures: the real `main`, an isolated home, and tiny checkpoints made once per session."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
PARITY = DATA / "parity"
Run = Callable[..., tuple[int, str, str]]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes of `-n auto`, which pyproject.toml asks for: up to four, of 1 GB each, for the whole suite.

    None for files that are named: they are done before a second process has imported what it needs.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4) if config.args_source is not pytest.Config.ArgsSource.ARGS and cores > 1 else 0


if n_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # Read when torch is imported: without it each process would take all cores for itself, and wait for them.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n_workers)))


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.delenv("YOJ_MODEL", raising=False)
    monkeypatch.delenv("YOJ_DEBUG", raising=False)
    monkeypatch.delenv("YOJ_SERVER", raising=False)
    monkeypatch.delenv("YOJ_API_KEY", raising=False)


@pytest.fixture
def yoj(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: `yoj("score", "a.jsonl") -> (exit code, stdout, stderr)`."""

    def run(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        from yoj_cli.cli.main import main

        # What a user does not see, the test run does; tests of processes of their own see what a user sees.
        monkeypatch.setattr("yoj_cli.cli.main.hide_warnings", lambda: None)
        monkeypatch.setattr(sys, "argv", ["yoj", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def golden() -> list[dict[str, Any]]:
    """Groups with the scores that the official implementation gave (see tests/data/parity/README.md)."""
    return json.loads((PARITY / "golden.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def adapter_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our format: the parity backbone as base, a random LoRA and a random head."""
    return make_adapter_checkpoint(tmp_path_factory.mktemp("adapter"))


def make_adapter_checkpoint(folder: Path) -> Path:
    import torch

    from yoj_cli.checkpoint.save import save_checkpoint
    from yoj_cli.config.judge import JudgeConfig
    from yoj_cli.model.adapter import adapter_weights, add_adapter
    from yoj_cli.model.head import HeadConfig, ValueHead
    from yoj_cli.model.load import load_backbone
    from yoj_cli.storage.names import DEFAULT_SEPARATOR

    base = PARITY / "checkpoint"
    config = JudgeConfig(model=str(base), device="cpu", quant="none")
    backbone = load_backbone(base, config, torch.device("cpu"), processor_folder=base)
    adapter = add_adapter(backbone, r=4, alpha=8, dropout=0.0, tied=False)
    generator = torch.Generator().manual_seed(0)
    for weight in adapter_weights(backbone.model).values():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    head = ValueHead(HeadConfig("mlp", 32, "silu", backbone.hidden_size, 8.0))
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    save_checkpoint(
        folder, backbone, head, adapter, base_model=str(base), separator=DEFAULT_SEPARATOR, role="assistant"
    )
    return folder


@pytest.fixture(scope="session")
def qwen_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3-VL in the merged format, built from code."""
    from tests.tiny_qwen3_vl import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("qwen3_vl"))


@pytest.fixture(scope="session")
def judges() -> Iterator[Callable[..., Any]]:
    """Load each judge once per session: `judges(folder, mode="single")`; float32 and unquantized by default."""
    from yoj_cli import Judge

    loaded: dict[tuple[object, ...], Judge] = {}

    def load(model: Path | str, **options: Any) -> Judge:
        options = {"device": "cpu", "quant": "none", "dtype": "float32", **options}
        key = (str(model), *sorted(options.items()))
        if key not in loaded:
            loaded[key] = Judge.load(str(model), **options)
        return loaded[key]

    yield load
    loaded.clear()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Hub of our own for this process, which is logged in to it with a token that may write; nothing is cached."""
    import huggingface_hub
    from huggingface_hub import constants

    from tests import fake_hub

    with fake_hub.serve() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = f"{served.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub-cache")))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "writer")
        yield served
        huggingface_hub.close_session()


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write records as JSON Lines: `write_lines(record, record, name="data.jsonl")`."""

    def write(*records: Any, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser, headless. Not kept for the session: Playwright's event loop runs in this thread meanwhile."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium_path is None:
        pytest.skip("there is no chromium (apt-get install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield browser
        browser.close()
