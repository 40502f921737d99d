"""Where a model's files are found: what a name means, and what is never taken for it."""

from __future__ import annotations

import logging
import shutil

import pytest
from huggingface_hub import constants

from tests import fake_hub
from tests.conftest import PARITY
from yoj_cli.checkpoint.merge import merge
from yoj_cli.checkpoint.quantize import quantize
from yoj_cli.checkpoint.read import read_checkpoint
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError, ModelError, UsageError
from yoj_cli.storage.files import copy_file, read_json
from yoj_cli.storage.find import EMBEDDED, find_base_folder

MERGED = PARITY / "checkpoint"


def publish(hub, name, folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.models[name] = fake_hub.Model(private=False, files=files)


@pytest.mark.parametrize("name", ["demo", str(MERGED)])
def test_a_revision_of_what_has_none_is_refused(name):
    with pytest.raises(UsageError, match=r"--revision: .* has no revisions, and 'v2' was asked for"):
        read_checkpoint(JudgeConfig(model=name, revision="v2"))


def test_a_base_revision_of_what_has_none_is_refused(yoj, tmp_path, write_lines):
    data = write_lines({"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2]})
    options = ("-o", tmp_path / "out", "--base", "demo", "--base-revision", "v2", "--dry-run")
    code, _, err = yoj("train", data, *options)
    assert code == 2
    assert "--base-revision: the embedded judge has no revisions" in err


def test_a_base_is_found_beside_the_checkpoint_by_its_path_or_in_the_program(tmp_path):
    (tmp_path / "backbone").mkdir()
    assert find_base_folder("backbone", None, tmp_path) == tmp_path / "backbone"
    assert find_base_folder(str(MERGED), None, tmp_path) == MERGED
    assert find_base_folder("demo", None, tmp_path) == EMBEDDED / "backbone"


@pytest.mark.parametrize("name", ["owner/base", "base", "demo"])
def test_a_folder_of_the_bases_name_in_the_current_folder_is_not_the_base(tmp_path, monkeypatch, name):
    shutil.copytree(MERGED, tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    if name == "demo":
        assert find_base_folder(name, None, tmp_path) == EMBEDDED / "backbone"
        return
    with pytest.raises(ModelError, match=f"The folder {name} here is not it"):
        find_base_folder(name, None, tmp_path)


@pytest.mark.parametrize("name", ["./base", "../base", "/nowhere/base", "~/base", "a/b/c"])
def test_a_base_that_is_a_folder_and_not_there_names_who_wants_it(tmp_path, name):
    with pytest.raises(ModelError, match=r"(?s)no such folder; .*correct base_model in"):
        find_base_folder(name, None, tmp_path)


def test_what_will_be_fetched_is_said_before_it_is(hub, adapter_checkpoint, tmp_path, monkeypatch, caplog):
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    publish(hub, "someone/base", MERGED)
    asked = []

    class Listener(logging.Handler):
        def emit(self, record):
            asked.append((record.getMessage(), [path.name for path in cache.rglob("*.safetensors")]))

    logger = logging.getLogger("yoj_cli.storage.hub")
    listener = Listener()
    logger.addHandler(listener)
    try:
        folder = find_base_folder("someone/base", None, adapter_checkpoint)
        again = find_base_folder("someone/base", None, adapter_checkpoint)
    finally:
        logger.removeHandler(listener)
    assert (folder / "model.safetensors").read_bytes() == (MERGED / "model.safetensors").read_bytes()
    assert again == folder
    ((message, there),) = asked  # nothing is fetched the second time, and nothing said
    assert message.startswith("fetching someone/base from the Hub (9 files, 1.5")
    assert message.endswith(f"the base model that {adapter_checkpoint} names")
    assert not there


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_object_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        read_json(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_an_error_and_not_waited_for(tmp_path, kind):
    import os

    path = tmp_path / "config.json"
    {"missing": lambda: None, "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        read_json(path)


def test_files_behind_links_are_copied_in_the_hubs_cache_and_nowhere_else(tmp_path):
    repo, out = tmp_path / "models--a--b", tmp_path / "out"
    for folder in (repo / "blobs", repo / "snapshots" / "c0ffee", tmp_path / "plain", out):
        folder.mkdir(parents=True)
    (repo / "blobs" / "1234").write_text("merges")
    (tmp_path / "secret").write_text("secret")
    cached = repo / "snapshots" / "c0ffee" / "merges.txt"
    cached.symlink_to("../../blobs/1234")
    copy_file(cached, out)
    assert (out / "merges.txt").read_text() == "merges"
    for folder in (tmp_path / "plain", cached.parent):
        link = folder / "vocab.txt"
        link.symlink_to(tmp_path / "secret")
        with pytest.raises(CheckpointError, match=r"vocab\.txt: is a link to a file outside"):
            copy_file(link, out)
    assert not (out / "vocab.txt").exists()


@pytest.mark.parametrize("command", [merge, quantize])
def test_a_link_in_a_checkpoint_does_not_carry_its_target_along(adapter_checkpoint, tmp_path, command):
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "adapter")
    (tmp_path / "secret").write_text("secret")
    (folder / "merges.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match=r"merges\.txt: is a link to a file outside"):
        command(JudgeConfig(model=str(folder), device="cpu"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
