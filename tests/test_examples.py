"""Every file in examples/ that can run is run, with the embedded judge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
CANDIDATES = EXAMPLES / "candidates.jsonl"
GROUPS = [json.loads(line) for line in CANDIDATES.read_text(encoding="utf-8").splitlines()]

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


def run(script, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", EXAMPLES / "pipelines" / script, *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.slow
@needs_jq
def test_best_of_n_prints_one_response_a_group():
    lines = run("best_of_n.sh", CANDIDATES, "--model", "demo")
    assert len(lines) == len(GROUPS)
    assert all(line in group["responses"] for line, group in zip(lines, GROUPS, strict=True))


@pytest.mark.slow
@needs_jq
def test_confident_prints_groups_above_nine_tenths():
    found = [json.loads(line) for line in run("confident.sh", CANDIDATES, "--model", "demo")]
    assert found
    assert all(group["p"] > 0.9 for group in found)


@pytest.mark.slow
def test_first_stops_after_one_group():
    (line,) = run("first.sh", CANDIDATES, "--model", "demo")
    assert json.loads(line)["id"] == GROUPS[0]["id"]


@pytest.mark.slow
@needs_jq
def test_preference_pairs_can_be_scored_again(tmp_path, yoj):
    pairs = run("preference_pairs.sh", CANDIDATES, "--model", "demo")
    assert len(pairs) == len(GROUPS)
    assert all(json.loads(pair)["chosen"] != json.loads(pair)["rejected"] for pair in pairs)
    (tmp_path / "pairs.jsonl").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    code, out, _ = yoj("score", tmp_path / "pairs.jsonl", "--model", "demo", "--media-root", EXAMPLES)
    assert (code, out.count("\n")) == (0, len(GROUPS))


@pytest.mark.slow
def test_rank_files_prints_a_table_with_the_files_names():
    text = "\n".join(run("rank_files.sh"))
    assert all(name in text for name in ("answers/a.txt", "answers/b.txt", "Describe this image."))


@pytest.mark.slow
def test_the_library_example_prints_three_responses_best_first():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "library.py"], capture_output=True, text=True, check=True, timeout=120
    )
    scores = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_the_example_file_is_judged_right_by_the_embedded_judge(yoj):
    code, out, _ = yoj("score", CANDIDATES, "--model", "demo", "--orders", 4)
    assert code == 0
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert [verdict["rankings"][verdict["best"]] for verdict in verdicts] == [1] * len(GROUPS)


@pytest.mark.slow
def test_the_readmes_training_command_trains(tmp_path):
    lines = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if "yoj train examples/rankings" in line)
    command = f"{lines[start].rstrip(chr(92))} {lines[start + 1]}".replace(
        "my-judge", str(tmp_path / "judge")
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=EXAMPLES.parent,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "step 16/16  held out: loss" in done.stderr
    assert (tmp_path / "judge" / "README.md").exists()


@pytest.mark.slow
def test_mr2bench_goes_from_votes_to_a_figure(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", EXAMPLES / "mr2bench" / "run.sh", tmp_path / "data", "8"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "8 groups" in done.stdout
    assert "best of N" in done.stdout
    groups = [json.loads(line) for line in (tmp_path / "data" / "groups.jsonl").read_text().splitlines()]
    assert {len(group["responses"]) for group in groups} == {4}
    assert all(group["rankings"].count(1) == 1 for group in groups)
