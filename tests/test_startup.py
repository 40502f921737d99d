"""Start-up: what a user waits for before anything happens."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import serving

EXAMPLES = Path(__file__).parent.parent / "examples"
YOJ = "from yoj_cli.cli.main import main; main()"
TINY = """if True:
    import typer
    app = typer.Typer(rich_markup_mode=None)
    @app.command()
    def score(limit: int = 1) -> None: ...
    @app.command()
    def rank(limit: int = 1) -> None: ...
    app()
"""


def cpu_s(*arguments: str) -> float:
    """CPU seconds (user + system) of a Python process run to its end."""
    done = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    assert done.returncode in (0, 2)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["score", "--no-such-option"]])
def test_help_and_usage_errors_take_under_0_3_s_of_cpu(arguments):
    """Of which two commands of one option each take Typer 0.1 to 0.2 s; a machine that is slow today gets more."""
    pairs = [(cpu_s("-c", YOJ, *arguments), cpu_s("-c", TINY, *arguments)) for _ in range(5)]
    fastest, typer_alone = (min(column) for column in zip(*pairs, strict=True))
    assert fastest < max(0.3, 2 * typer_alone), (fastest, typer_alone)


@pytest.mark.alone
@pytest.mark.slow
def test_the_first_row_takes_at_most_1_5_times_the_import_of_the_libraries():
    libraries = "import torch, transformers, peft, bitsandbytes"
    score = [str(EXAMPLES / "candidates.jsonl"), "--model", "demo", "--limit", "1"]
    ratios = [cpu_s("-c", YOJ, "score", *score) / cpu_s("-c", libraries) for _ in range(3)]
    assert statistics.median(ratios) < 1.5, ratios


@pytest.mark.alone
@pytest.mark.slow
def test_the_first_row_of_a_server_takes_under_0_7_s_of_cpu(judges):
    """Of which the same help takes 0.3 s; a machine that is slow today gets more."""
    with serving(lambda: [judges("demo", quant="auto", dtype="auto")]) as served:
        score = ("score", str(EXAMPLES / "candidates.jsonl"), "--limit", "1", "--server", served.url)
        pairs = [(cpu_s("-c", YOJ, *score), cpu_s("-c", YOJ, "score", "--help")) for _ in range(5)]
    fastest, of_help = (min(column) for column in zip(*pairs, strict=True))
    assert fastest < max(0.7, 2.5 * of_help), (fastest, of_help)
