"""Every file in examples/ that can run is run, with the embedded judge."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import serving

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


@pytest.mark.slow
def test_what_asks_a_server_is_answered(judges):
    folder = EXAMPLES / "serve"
    with serving(lambda: [judges("demo", quant="auto", dtype="auto")], api_key="0123456789abcdef") as served:
        commands = [
            ["sh", folder / "score.sh", served.url],
            [sys.executable, folder / "best_of_n.py", served.url],
            [sys.executable, folder / "reward.py", served.url],
        ]
        shell, best, rewards = [
            subprocess.run(
                command,
                env={**os.environ, "YOJ_API_KEY": "0123456789abcdef"},
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            ).stdout.splitlines()
            for command in commands
        ]
    found = [json.loads(line) for line in shell]
    assert [len(line["scores"]) for line in found] == [3, 2, 2, 2]
    assert [line.get("id") for line in found] == [None, None, 1, 2]
    assert len(best) == 1 + len(GROUPS)
    assert len(json.loads(rewards[0])) == 4


def test_containers_and_services_start_the_server_with_options_that_it_has(yoj):
    import yaml

    folder = EXAMPLES / "serve"
    docker = (folder / "Dockerfile").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", docker, re.MULTILINE))
    compose = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    unit = (folder / "yoj-serve.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=/opt/yoj/bin/(.*)$", unit, re.MULTILINE)
    entry = json.loads(parts["ENTRYPOINT"])
    served = [
        entry + json.loads(parts["CMD"]),
        entry + compose["services"]["judge"]["command"],
        start.split(),
    ]
    ask = compose["services"]["ask"]
    for command in [*served, ask["entrypoint"] + ask["command"]]:
        assert command[0] == "yoj"
        text = yoj(command[1], "--help")[1]
        named = {each for each in command if each.startswith("-")}
        assert not {name for name in named if not re.search(rf"(^|[\s,]){name}\b", text)}
    assert {"judge", "ask"} == set(compose["services"])
    assert "USER 10001" in docker


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_reads_the_unit():
    unit = EXAMPLES / "serve" / "yoj-serve.service"
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    complaints = [
        line for line in done.stderr.splitlines() if "/opt/yoj/bin/yoj is not executable" not in line
    ]
    assert not [line for line in complaints if unit.name in line]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ms_swift_plugin", "slime_reward", "verl_reward"])
def test_a_trainers_reward_prints_the_groups_scores(name):
    script = EXAMPLES / "rewards" / f"{name}.py"
    environment = {key: value for key, value in os.environ.items() if key != "YOJ_SERVER"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    scores = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(scores) == 4
    assert scores.index(max(scores)) == GROUPS[0]["rankings"].index(1)


@pytest.mark.slow
def test_trl_trains_on_the_examples_with_a_judge(tmp_path):
    from tests.tiny_policy import make_policy

    policy = make_policy(tmp_path)
    settings = [
        "--policy",
        policy,
        "--cpu",
        "--steps",
        "2",
        "--max-completion-length",
        "12",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "rewards" / "trl_grpo.py", *map(str, settings)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
    assert [entry["step"] for entry in steps] == [1, 2]
    assert all(entry["rewards/yoj_multi/std"] > 0 for entry in steps)
