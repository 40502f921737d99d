"""Pushing to and pulling from the Hub, with a small one of our own on 127.0.0.1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants

from tests import fake_hub
from tests.conftest import PARITY
from tests.processes import environment, run
from yoj_cli.errors import CheckpointError, ModelError, UsageError
from yoj_cli.storage.hub import is_hub_id
from yoj_cli.storage.push import check_push, check_repo_id, push

GROUP = {"prompt": "p", "responses": ["a red dog", "two cats", "the sky"]}
PUSH = """
import sys
from pathlib import Path
from yoj_cli.storage.push import push
print(push(Path(sys.argv[1]), sys.argv[2], private=sys.argv[3] == "private"))
"""


@pytest.fixture
def checkpoint(adapter_checkpoint, tmp_path):
    """A checkpoint that holds its base model, and the leavings of its training."""
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "judge")
    shutil.copytree(PARITY / "checkpoint", folder / "backbone", ignore=shutil.ignore_patterns("value_head*"))
    set_base(folder, "backbone")
    for name in ("checkpoint-10/optimizer.pt", "runs/events", "half.json.tmp", ".hidden"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("state")
    return folder


def set_base(folder, base):
    for name, key in (
        ("reward_model_config.json", "base_model"),
        ("adapter_config.json", "base_model_name_or_path"),
    ):
        raw = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(raw | {key: base}))


@pytest.mark.slow
def test_a_pushed_judge_gives_the_same_scores_by_its_name_and_from_the_cache(
    checkpoint, judges, tmp_path, write_lines
):
    """As people do it: push here; score on another machine; score there again without a network."""
    (checkpoint / "README.md").write_text("---\nlibrary_name: yoj-cli\n---\n# A judge\n")
    data = write_lines(GROUP)

    def elsewhere(**changes):
        home = {"HF_HOME": str(tmp_path / "there"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "reader"}
        return environment(**{"HF_ENDPOINT": hub.url, **home, **changes})

    def score(**changes):
        command = ["score", data, "-m", "someone/judge", "--device", "cpu", "-f", "jsonl"]
        command += ["--quant", "none", "--dtype", "float32"]
        done = run(*command, env=elsewhere(**changes))
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout), done.stderr.decode()

    with fake_hub.serve() as hub:
        pushed = subprocess.run(
            [sys.executable, "-c", PUSH, checkpoint, "someone/judge", "private"],
            env=elsewhere(HF_TOKEN="writer", HF_HOME=str(tmp_path / "here")),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        commit = hub.models["someone/judge"].commit
        assert pushed.stdout.strip() == f"{hub.url}/someone/judge/commit/{commit}"
        online, said = score()
    offline, said_offline = score(HF_HUB_OFFLINE="1")
    assert "fetching someone/judge from the Hub" in said
    assert "fetching" not in said_offline
    wanted = judges(checkpoint).score(**GROUP).scores
    assert online["scores"] == offline["scores"] == pytest.approx(wanted, abs=1e-6)
    assert online["judge"]["revision"] == offline["judge"]["revision"] == commit


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_large_model_is_refused_where_there_is_no_gpu_before_it_is_fetched(tmp_path, write_lines):
    data = write_lines(GROUP)
    with fake_hub.serve() as hub:
        sizes = {"model-1.safetensors": 5_000_000_000, "model-2.safetensors": 3_900_000_000}
        hub.models["someone/large"] = fake_hub.Model(private=False, listed=sizes)
        done = run(
            *("score", data, "-m", "someone/large"),
            env=environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="0"),
        )
        assert not any("/resolve/" in request for request in hub.requests)
    assert done.returncode == 4
    assert b"someone/large has 8.9 GB of weights" in done.stderr


def test_training_state_stays_at_home(hub, checkpoint):
    push(checkpoint, "someone/judge", private=False)
    files = hub.models["someone/judge"].files
    assert {"adapter_model.safetensors", "value_head.safetensors", "backbone/model.safetensors"} <= set(files)
    assert b"state" not in files.values()
    kept = {path: (checkpoint / path).read_bytes() for path in files}
    assert files == kept


def test_a_push_may_be_of_some_files_only(hub, checkpoint):
    push(checkpoint, "someone/judge", private=False, files=["*.safetensors", "adapter_config.json"])
    assert set(hub.models["someone/judge"].files) == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "value_head.safetensors",
        "backbone/model.safetensors",
    }


@pytest.mark.parametrize("private", [True, False])
def test_a_model_is_as_private_as_was_asked(hub, checkpoint, private):
    push(checkpoint, "someone/judge", private=private)
    assert hub.models["someone/judge"].private is private


def test_a_private_push_does_not_go_to_a_model_that_is_public(hub, checkpoint):
    hub.models["someone/judge"] = fake_hub.Model(private=False)
    with pytest.raises(UsageError, match="exists and is public"):
        push(checkpoint, "someone/judge", private=True)
    assert not hub.models["someone/judge"].files


def test_a_second_push_replaces_the_files_and_keeps_the_rest(hub, checkpoint):
    push(checkpoint, "friends/judge", private=True)
    hub.models["friends/judge"].files["notes.md"] = b"by hand"
    (checkpoint / "reward_model_config.json").write_text(
        (checkpoint / "reward_model_config.json").read_text() + "\n"
    )
    push(checkpoint, "friends/judge", private=True)
    files = hub.models["friends/judge"].files
    assert files["notes.md"] == b"by hand"
    assert files["reward_model_config.json"] == (checkpoint / "reward_model_config.json").read_bytes()


@pytest.mark.parametrize(
    "name", ["judge", "a/b/c", "some one/judge", "-a/b", "a/b.", "a--b/c", "a/" + "b" * 97, ""]
)
def test_a_name_the_hub_cannot_have_is_refused(name):
    with pytest.raises(UsageError, match='Give "owner/name"'):
        check_repo_id(name)


def test_a_name_the_hub_can_have_is_not_refused():
    check_repo_id("Some-one/judge_2.0")
    assert is_hub_id("gpt2")


def test_a_push_that_can_succeed_passes_the_check(hub, tmp_path, monkeypatch):
    check_push("someone/judge", "owner/model")
    check_push("Friends/judge", str(tmp_path / "judge" / "base"), folder=tmp_path / "judge")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    check_push("someone/judge", "demo")
    assert hub.requests == ["GET /api/whoami-v2"] * 3


@pytest.mark.parametrize("base", ["/models/molmo", "./molmo", "../molmo", "a/b/c"])
def test_a_base_that_is_a_folder_is_refused_before_training(hub, base, tmp_path):
    with pytest.raises(UsageError, match=r"(?s)a folder of this machine.*Give a Hub id for --base"):
        check_push("someone/judge", base, folder=tmp_path)


def test_a_base_that_only_looks_like_one_of_the_hub_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    with pytest.raises(UsageError, match="a folder of this machine"):
        check_push("someone/judge", "owner/model")


@pytest.mark.parametrize("base", ["/models/molmo", "../judge/backbone/../../base", "nowhere/there/is"])
def test_a_checkpoint_on_a_base_of_this_machine_is_not_pushed(hub, checkpoint, base):
    (checkpoint.parent / "base").mkdir()
    set_base(checkpoint, base)
    with pytest.raises(UsageError, match="a folder of this machine"):
        push(checkpoint, "someone/judge", private=False)
    assert not hub.requests


def test_a_base_inside_the_checkpoint_has_to_be_named_relative_to_it(hub, checkpoint):
    set_base(checkpoint, str(checkpoint / "backbone"))
    with pytest.raises(UsageError, match="a folder of this machine"):
        push(checkpoint, "someone/judge", private=False)


def test_a_merged_checkpoint_needs_no_base(hub):
    push(PARITY / "checkpoint", "someone/judge", private=False)
    assert "value_head.pt" in hub.models["someone/judge"].files


def test_a_folder_that_is_no_checkpoint_is_not_pushed(hub, tmp_path):
    with pytest.raises(CheckpointError, match=r"reward_model_config\.json"):
        push(tmp_path, "someone/judge", private=False)
    assert not hub.requests


def test_offline_mode_refuses_at_once_and_says_how_to_go_on(checkpoint):
    with pytest.raises(ModelError, match=r"(?s)offline mode is on.*hf upload someone/judge .*judge"):
        push(checkpoint, "someone/judge", private=False)
    with pytest.raises(ModelError, match=r"(?s)offline mode is on.*Unset it"):
        check_push("someone/judge")


def both_ways(checkpoint):
    return [
        lambda: check_push("someone/judge"),
        lambda: push(checkpoint, "someone/judge", private=False),
    ]


@pytest.mark.parametrize("token", ["", "nobody", "reader"])
def test_a_login_that_cannot_write_is_an_error(hub, checkpoint, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(checkpoint / "no-token"))
    for attempt in both_ways(checkpoint):
        with pytest.raises(ModelError, match=r"(?s)(login|logged in).*hf auth login"):
            attempt()
    assert not hub.models


def test_somebody_elses_name_is_refused(hub, checkpoint):
    with pytest.raises(UsageError, match=r"(?s)login is someone.*go under someone/ or friends/"):
        check_push("soemone/judge")
    with pytest.raises(ModelError, match="may not write there"):
        push(checkpoint, "soemone/judge", private=False)


def test_a_hub_out_of_reach_is_an_error_that_says_how_to_go_on(hub, checkpoint, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    check, upload = both_ways(checkpoint)
    with pytest.raises(ModelError, match=r"(?s)cannot be reached.*hf upload"):
        check()
    with pytest.raises(ModelError, match=r"(?s)cannot be reached.*checkpoint is safe; later: `hf upload"):
        upload()


def test_a_card_that_the_hub_refuses_is_an_error(hub, checkpoint):
    (checkpoint / "README.md").write_text("---\nbroken: [\n---\n")
    with pytest.raises(ModelError, match=r"(?s)cannot be pushed: .*the metadata is broken"):
        push(checkpoint, "someone/judge", private=False)
