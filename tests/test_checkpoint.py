"""Checkpoints: both formats, and everything that must not be loaded in silence."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import PARITY
from yoj_cli import Judge
from yoj_cli.errors import CheckpointError, ModelError

MERGED = PARITY / "checkpoint"


def load(folder, **options):
    return Judge.load(str(folder), **{"device": "cpu", "quant": "none", "dtype": "float32", **options})


@pytest.fixture
def adapter(adapter_checkpoint, tmp_path):
    """A copy to damage."""
    return shutil.copytree(adapter_checkpoint, tmp_path / "adapter")


@pytest.fixture
def merged(tmp_path):
    return shutil.copytree(MERGED, tmp_path / "merged")


def rewrite_adapter(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(
        dict(change(key, weight) for key, weight in load_file(path).items()), path, metadata={"format": "pt"}
    )


def edit_json(path, **changes):
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in (raw | changes).items() if value is not None}))


GROUP = {"prompt": "p", "responses": ["a red dog", "two cats", "the sky"]}


def test_the_adapter_changes_the_scores(judges, adapter_checkpoint, adapter):
    rewrite_adapter(adapter, lambda key, weight: (key, weight * 0))
    assert load(adapter).score(**GROUP).scores != judges(adapter_checkpoint).score(**GROUP).scores


def test_an_adapter_equals_its_weights_merged_by_hand(judges, adapter_checkpoint):
    judge = judges(adapter_checkpoint)
    wanted = judge.score(**GROUP).scores
    plain = load(MERGED)
    state = load_file(adapter_checkpoint / "adapter_model.safetensors")
    scale = 8 / 4  # alpha / r
    for key in [key for key in state if key.endswith("lora_A.weight")]:
        module = plain.backbone.model.get_submodule(
            key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        )
        module.weight.data += scale * state[key.replace("lora_A", "lora_B")] @ state[key]
    plain.head.load_state_dict(judge.head.state_dict())
    assert plain.score(**GROUP).scores == pytest.approx(wanted, abs=1e-4)


def test_keys_saved_from_the_whole_model_find_their_place(judges, adapter_checkpoint, adapter):
    """PEFT loads nothing from such a file and only warns."""
    rewrite_adapter(
        adapter, lambda key, weight: (key.replace("base_model.model.", "base_model.model.model."), weight)
    )
    assert load(adapter).score(**GROUP).scores == judges(adapter_checkpoint).score(**GROUP).scores


def test_bare_target_names_do_not_ask_for_the_vision_tower(judges, adapter_checkpoint, adapter):
    edit_json(adapter / "adapter_config.json", target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    rewrite = {
        key: w for key, w in load_file(adapter / "adapter_model.safetensors").items() if "self_attn" in key
    }
    save_file(rewrite, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    assert load(adapter).score(**GROUP).scores != judges(adapter_checkpoint).score(**GROUP).scores


def test_a_loaded_adapter_drops_nothing_out(adapter):
    """The demo judge was trained with dropout; scoring twice must give the same."""
    edit_json(adapter / "adapter_config.json", lora_dropout=0.5)
    judge = load(adapter)
    assert not any(module.training for module in judge.backbone.model.modules())
    assert judge.score(**GROUP).scores == judge.score(**GROUP).scores


def test_a_missing_adapter_weight_is_an_error(adapter):
    path = adapter / "adapter_model.safetensors"
    state = load_file(path)
    state.pop(next(iter(state)))
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="the adapter lacks 1 weights"):
        load(adapter)


def test_a_missing_adapter_layer_is_an_error(adapter):
    path = adapter / "adapter_model.safetensors"
    save_file(
        {k: w for k, w in load_file(path).items() if "layers.2." not in k}, path, metadata={"format": "pt"}
    )
    with pytest.raises(CheckpointError, match=r"the adapter lacks weights for \d modules .*layers\.2"):
        load(adapter)


def test_an_adapter_of_another_backbone_is_an_error(adapter):
    rewrite_adapter(adapter, lambda key, weight: (key.replace("layers.0.", "layers.7."), weight))
    with pytest.raises(CheckpointError, match="for another backbone"):
        load(adapter)


def test_a_misshapen_adapter_weight_is_an_error(adapter):
    rewrite_adapter(
        adapter, lambda key, weight: (key, weight[:, :-1].contiguous() if "lora_A" in key else weight)
    )
    with pytest.raises(CheckpointError, match=r"is \(4, \d+\) in the file"):
        load(adapter)


def test_a_pickled_adapter_is_not_read(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="Pickled adapters are not read"):
        load(adapter)


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), b"", b"\x80\x04junk"])
def test_a_value_head_that_is_no_plain_file_of_tensors_is_refused_unrun(merged, content, capsys):
    (merged / "value_head.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="no plain file of tensors"):
        load(merged)
    assert "boom" not in capsys.readouterr().out


def test_a_torch_saved_object_is_refused_unrun(merged, capsys):
    torch.save({"0.weight": Bomb()}, merged / "value_head.pt")
    with pytest.raises(CheckpointError, match="no plain file of tensors"):
        load(merged)
    assert "boom" not in capsys.readouterr().out


def test_a_missing_value_head_is_an_error(merged):
    (merged / "value_head.pt").unlink()
    with pytest.raises(CheckpointError, match=r"neither value_head\.safetensors nor value_head\.pt"):
        load(merged)


def test_a_head_that_does_not_fit_its_config_is_an_error(merged):
    edit_json(merged / "reward_model_config.json", value_head_hidden_dim=16)
    with pytest.raises(CheckpointError, match="the value head does not fit"):
        load(merged)


def test_a_head_larger_than_any_memory_is_an_error(merged):
    edit_json(merged / "reward_model_config.json", value_head_hidden_dim=10**12)
    with pytest.raises(
        CheckpointError, match=r"config\.json: value_head_hidden_dim is 10+, which is no size of a layer"
    ):
        load(merged)


def test_a_head_of_another_width_than_the_backbone_is_an_error(merged):
    edit_json(merged / "reward_model_config.json", value_head_input_dim=128)
    with pytest.raises(CheckpointError, match="reads 128 numbers a token, the backbone gives 64"):
        load(merged)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resp_repr_mode": "mean"}, "resp_repr_mode is 'mean'"),
        ({"value_head_type": "conv"}, "value_head_type is 'conv'"),
        ({"value_head_activation": "swish2"}, "value_head_activation is 'swish2'"),
        ({"value_head_input_dim": None}, "sizes are missing"),
        ({"responses_role": "system"}, "responses_role is 'system'"),
        ({"separator": -1}, "separator is -1, which is no text"),
        ({"base_revision": [1]}, "base_revision is .1., which is no text"),
        ({"format_version": 99}, "format_version is 99"),
        ({"separator": "\n\n"}, "must hold one special token"),
        ({"separator": "<|resp_sep|><|im_end|>"}, "found 2"),
    ],
)
def test_a_config_this_version_does_not_implement_is_an_error(merged, changes, message):
    edit_json(merged / "reward_model_config.json", **changes)
    with pytest.raises(CheckpointError, match=message.replace("|", r"\|")):
        load(merged)


def test_a_tokenizer_without_the_separator_is_an_error(merged):
    text = (merged / "tokenizer.json").read_text().replace("<|resp_sep|>", "<|other|>")
    (merged / "tokenizer.json").write_text(text)
    edit_json(merged / "tokenizer_config.json", extra_special_tokens=[])
    with pytest.raises(CheckpointError, match="The tokenizer files must come from the checkpoint"):
        load(merged)


def test_missing_backbone_weights_are_an_error(merged):
    path = merged / "model.safetensors"
    save_file(
        {k: w for k, w in load_file(path).items() if "blocks.1." not in k}, path, metadata={"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"the backbone lacks \d+ weights"):
        load(merged)


def test_a_folder_that_is_no_reward_model_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="is not a reward model"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder"])
def test_a_missing_folder_is_not_looked_up_on_the_hub(name):
    with pytest.raises(ModelError, match="there is no such folder"):
        load(name)


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nosuchmodel", "not in the local cache, and the Hub cannot be reached"),
        ("someone/some-model", "not in the local cache, and the Hub cannot be reached"),
        ("no such model", "neither a folder here nor a model on the Hub"),
        ("/etc", "is not a reward model"),
        (__file__, "is a file, not the folder"),
        ("DEMO", "Did you mean `demo`"),
    ],
)
def test_a_wrong_name_is_named_and_not_the_missing_gpu(name, problem, device):
    """A GPU that was asked for comes second, too."""
    with pytest.raises(ModelError, match=problem):
        load(name, device=device)


@pytest.mark.parametrize("value", ["3bit", 4, "auto"])
def test_a_quantization_that_was_trained_in_and_is_none_is_named(merged, value):
    edit_json(merged / "reward_model_config.json", quant=value)
    with pytest.raises(CheckpointError, match=f"quant is {value!r}; known are 4bit, 8bit, none"):
        load(merged)


def test_a_hub_model_that_is_not_cached_says_so_when_offline():
    with pytest.raises(ModelError, match="not in the local cache, and the Hub cannot be reached"):
        load("someone/some-model")


def test_a_hub_cache_is_read_offline(tmp_path, monkeypatch):
    import huggingface_hub.constants

    cache = tmp_path / "hub"
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = cache / "models--someone--judge"
    shutil.copytree(MERGED, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    judge = load("someone/judge")
    assert judge.description["revision"] == commit
    assert judge.score(**GROUP).scores == load(MERGED).score(**GROUP).scores


def test_an_adapter_that_names_no_base_is_refused(adapter_checkpoint, tmp_path):
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "judge")
    for name, key in (
        ("reward_model_config.json", "base_model"),
        ("adapter_config.json", "base_model_name_or_path"),
    ):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        content.pop(key)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not say what it was trained on"):
        load(folder)
