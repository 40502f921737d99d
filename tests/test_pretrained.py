"""What transformers reads of a model: nothing of its repository runs, nothing is asked, every error names a file."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.adapters import make_text_only
from tests.conftest import PARITY
from tests.processes import environment
from yoj_cli import Judge
from yoj_cli.errors import CheckpointError, ModelError

MERGED = PARITY / "checkpoint"
CODE = "raise SystemExit('code of the repository ran')\n"
AUTO_MAP = {
    "config.json": {
        "AutoConfig": "strange.Config",
        "AutoModel": "strange.Model",
        "AutoModelForImageTextToText": "strange.Model",
    },
    "tokenizer_config.json": {
        "AutoProcessor": "strange.Processor",
        "AutoTokenizer": [None, "strange.Tokenizer"],
    },
    "processor_config.json": {"AutoProcessor": "strange.Processor"},
    "preprocessor_config.json": {
        "AutoImageProcessor": "strange.Pictures",
        "AutoVideoProcessor": "strange.Clips",
    },
}


def load(folder, **options):
    return Judge.load(str(folder), **{"device": "cpu", "quant": "none", "dtype": "float32", **options})


def edit_json(path, **changes):
    raw = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({key: value for key, value in (raw | changes).items() if value is not None}))


def with_code(folder, model_type=None):
    """A checkpoint whose every configuration names code beside it."""
    shutil.copytree(MERGED, folder)
    (folder / "strange.py").write_text(CODE)
    for name, places in AUTO_MAP.items():
        if name != "preprocessor_config.json":
            edit_json(folder / name, auto_map=places)
    if model_type:
        edit_json(folder / "config.json", model_type=model_type)
    return folder


@pytest.fixture
def merged(tmp_path):
    return shutil.copytree(MERGED, tmp_path / "merged")


@pytest.mark.parametrize("trust_remote_code", [False, True])
def test_no_code_runs_on_a_known_family_with_the_flag_or_without(tmp_path, trust_remote_code, judges):
    group = {"prompt": "p", "responses": ["a red dog", "two cats"]}
    judge = load(with_code(tmp_path / "coded"), trust_remote_code=trust_remote_code)
    assert judge.score(**group).scores == judges(MERGED).score(**group).scores


@pytest.mark.slow
@pytest.mark.parametrize("command", ["score", "train", "merge"])
def test_nothing_is_asked_on_the_terminal_and_nothing_runs_at_yes(tmp_path, write_lines, command):
    folder = with_code(tmp_path / "coded", model_type="strange")
    if command == "merge":
        base, folder = folder, tmp_path / "adapter"
        shutil.copytree(PARITY.parents[2] / "yoj_cli" / "demo", folder)
        edit_json(folder / "reward_model_config.json", base_model=str(base))
    data = write_lines({"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2]})
    arguments = {
        "score": ["score", data, "-m", folder, "--device", "cpu"],
        "train": ["train", data, "-o", tmp_path / "out", "--base", folder, "--device", "cpu"],
        "merge": ["merge", folder, "-o", tmp_path / "out"],
    }[command]
    leader, follower = pty.openpty()
    os.write(leader, b"y\n" * 50)
    done = subprocess.run(
        [sys.executable, "-c", "from yoj_cli.cli.main import main; main()", *map(str, arguments)],
        stdin=follower,
        capture_output=True,
        text=True,
        timeout=200,
        env=environment(),
    )
    os.close(leader)
    os.close(follower)
    assert done.returncode == 3, done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert "repository ran" not in done.stdout + done.stderr
    assert "config.json: the backbone's configuration cannot be loaded" in done.stderr


def test_a_pickled_backbone_is_refused(merged):
    torch.save(load_file(merged / "model.safetensors"), merged / "pytorch_model.bin")
    (merged / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"the weights are pickled, and only safetensors are read"):
        load(merged)


@pytest.mark.parametrize("place", ["../model.safetensors", "/etc/passwd", "model.bin", 3, None])
def test_an_index_that_points_elsewhere_is_an_error(merged, place):
    index = {"weight_map": {"lm_head.weight": place}}
    (merged / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="no safetensors file beside it"):
        load(merged)


def test_a_base_that_is_an_adapter_is_not_followed_to_its_base(adapter_checkpoint, tmp_path):
    """transformers would load whatever the inner adapter names, from the Hub if need be."""
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "adapter")
    edit_json(folder / "reward_model_config.json", base_model=str(adapter_checkpoint))
    with pytest.raises(CheckpointError, match="the base is an adapter itself"):
        load(folder)


@pytest.mark.parametrize("model_type", ["llava", "qwen2_5_vl", "smolvlm", "gemma3"])
def test_an_architecture_with_eyes_that_is_unknown_is_refused_by_name(merged, model_type):
    (merged / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ModelError, match=rf"the backbone \({model_type}\) reads more than text"):
        load(merged)


def test_training_on_an_architecture_with_eyes_that_is_unknown_is_refused(merged, yoj, write_lines, tmp_path):
    (merged / "config.json").write_text(json.dumps({"model_type": "llava"}))
    data = write_lines({"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2]})
    code, _, err = yoj("train", data, "-o", tmp_path / "out", "--base", merged, "--device", "cpu")
    assert code == 3
    assert "the backbone (llava) reads more than text" in err


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": "1.0"}', b"\xff\xfe\x00", b"[]"])
def test_a_broken_tokenizer_names_its_own_file_and_not_the_base(adapter_checkpoint, tmp_path, content):
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "adapter")
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(str(folder / "tokenizer.json"))):
        load(folder)


@pytest.mark.parametrize("family", ["molmo2", "text"])
def test_a_missing_chat_template_is_found_at_loading(merged, qwen_checkpoint, tmp_path, family):
    folder = merged if family == "molmo2" else make_text_only(tmp_path / "text", qwen_checkpoint)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    edit_json(folder / "tokenizer_config.json", chat_template=None)
    with pytest.raises(ModelError, match="there is no chat template") as error:
        load(folder)
    assert error.value.where == str(folder)


def test_a_tokenizer_without_the_token_that_a_sequence_starts_with_is_an_error(merged):
    (merged / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: the tokenizer has no bos token"):
        load(merged)


@pytest.mark.parametrize("class_name", ["x", "Qwen2TokenizerFast"])
def test_a_processor_that_reads_no_media_is_refused_with_its_file(merged, class_name):
    """transformers gives a bare tokenizer for a processor class that it does not know."""
    edit_json(merged / "processor_config.json", processor_class=class_name)
    with pytest.raises(ModelError, match=r"which has no image_processor") as caught:
        load(merged)
    assert caught.value.where == str(merged / "processor_config.json")


@pytest.mark.parametrize("token_id", [0, 8, 10**6])
def test_media_tokens_that_the_processor_never_writes_are_refused_at_load(merged, token_id):
    edit_json(merged / "config.json", image_patch_id=token_id)
    with pytest.raises(ModelError, match=rf"image_patch_id is {token_id}, and the processor writes media as"):
        load(merged)
