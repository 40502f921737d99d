"""`adapter_config.json`: what is read of it, and what is refused by name."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from yoj_cli import Judge
from yoj_cli.checkpoint.adapter_files import read_lora_config
from yoj_cli.errors import CheckpointError

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}


def read(tmp_path, content):
    path = tmp_path / "adapter_config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_lora_config(path)


def test_what_peft_writes_is_read(tmp_path):
    from peft import LoraConfig

    written = LoraConfig(r=3, lora_alpha=6, target_modules=r".*q_proj", rank_pattern={"q_proj": 2})
    written.save_pretrained(str(tmp_path))
    found = read_lora_config(tmp_path / "adapter_config.json")
    assert (found.r, found.lora_alpha, found.target_modules) == (3, 6, r".*q_proj")
    assert found.rank_pattern == {"q_proj": 2}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"LORA"'])
def test_what_is_no_json_object_ends_with_exit_code_3(
    adapter_checkpoint, tmp_path, yoj, write_lines, content
):
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "adapter")
    (folder / "adapter_config.json").write_text(content)
    data = write_lines({"prompt": "p", "responses": ["a", "b"]})
    code, out, err = yoj("score", data, "-m", folder, "--device", "cpu")
    assert (code, out) == (3, "")
    assert "adapter_config.json: " in err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("r", value) for value in (0, -1, 1.5, "8", True, 1 << 30, [])],
        *[("lora_alpha", value) for value in ("8", float("nan"), [])],
        *[("lora_dropout", value) for value in (-1, 1, "0")],
        *[("target_modules", value) for value in (None, "(", 3, [1], {})],
        *[("rank_pattern", value) for value in ([1], {"(": 1}, {"q": "2"}, {"q": -1})],
        *[("alpha_pattern", value) for value in ([1], {"q": float("inf")})],
        ("use_dora", "yes"),
        ("layers_to_transform", ["1"]),
        ("init_lora_weights", "pissa"),
        ("peft_type", "IA3"),
        ("peft_type", None),
        *[
            ("megatron_core", "evil"),
            ("megatron_config", {"a": 1}),
            ("auto_mapping", {"base_model_class": "x"}),
        ],
        *[("bias", "all"), ("modules_to_save", ["lm_head"]), ("trainable_token_indices", [1])],
        *[("layer_replication", [[0, 1]]), ("loftq_config", {"bits": 4}), ("something_new", True)],
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path, key, value):
    name = "the adapter" if key in ("init_lora_weights", "peft_type") else key
    with pytest.raises(CheckpointError, match=rf"adapter_config\.json: {name} (is|was) "):
        read(tmp_path, PLAIN | {key: value})


def test_no_module_of_the_current_folder_is_imported(adapter_checkpoint, tmp_path, monkeypatch):
    """`megatron_core` names a module that PEFT imports."""
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "adapter")
    path = folder / "adapter_config.json"
    named = {"megatron_core": "stranger", "megatron_config": {"tensor_model_parallel_size": 1}}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    (tmp_path / "stranger.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CheckpointError, match="megatron_config is"):
        Judge.load(str(folder), device="cpu", quant="none")
    assert "stranger" not in sys.modules
