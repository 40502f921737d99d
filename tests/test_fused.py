"""One A for the parts of a layer that the release fuses: while training, in the files, and read back."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from tests.conftest import PARITY
from tests.test_train import SMALL, groups, run  # noqa: F401  (a fixture)
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import UsageError
from yoj_cli.model.adapter import adapter_weights, saved_adapter
from yoj_cli.model.adapter_layers import target_names
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.family import MOLMO2
from yoj_cli.train.memory_estimate import count_adapter
from yoj_cli.train.model import load_model
from yoj_cli.train.starting_point import find_base

TEXT = {"prompt": "p", "responses": ["a red dog", "two cats", "the sky"]}
TIED = SMALL | {"quant": "none"}


def load(**options):
    config = TrainConfig(**TIED | options)
    return load_model(config, find_base(config))


def test_the_parts_of_a_fused_layer_share_one_a_and_each_has_its_own_b():
    layer = load().decoder.language_model.layers[1]
    attention, mlp = layer.self_attn, layer.mlp
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    assert len({each.lora_A["default"].weight for each in parts}) == 1
    assert len({each.lora_B["default"].weight for each in parts}) == 3
    assert mlp.up_proj.lora_A["default"].weight is mlp.gate_proj.lora_A["default"].weight
    assert attention.o_proj.lora_A["default"].weight is not parts[0].lora_A["default"].weight


def test_untied_parts_have_an_a_each():
    attention = load(tie_lora=False).decoder.language_model.layers[0].self_attn
    assert attention.q_proj.lora_A["default"].weight is not attention.k_proj.lora_A["default"].weight


def test_molmo2_4b_has_229_million_weights_at_rank_128_and_264_million_untied():
    with torch.device("meta"):
        text = {"hidden_size": 2560, "num_hidden_layers": 36, "intermediate_size": 9728, "head_dim": 128}
        text |= {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 8}
        config = AutoConfig.from_pretrained(PARITY / "checkpoint")
        for name, value in text.items():
            setattr(config.text_config, name, value)
        model = AutoModel.from_config(config)
    backbone = Backbone(model, None, MOLMO2, torch.device("cpu"), torch.float32)
    assert count_adapter(backbone, TrainConfig()) == 228_851_712
    assert count_adapter(backbone, TrainConfig(tie_lora=False)) == 264_241_152


@pytest.mark.parametrize("options", [{}, {"tie_lora": False}, {"lora_targets": "q_proj,ff_proj"}], ids=str)
def test_as_many_weights_are_counted_as_are_trained(options):
    model = load(**options)
    trained = sum(weight.numel() for weight in adapter_weights(model.decoder).values())
    config = TrainConfig(**TIED | options)
    with torch.device("meta"):
        plain = AutoModel.from_config(AutoConfig.from_pretrained(PARITY / "checkpoint"))
    assert count_adapter(Backbone(plain, None, MOLMO2, torch.device("cpu"), torch.float32), config) == trained


def test_the_parts_draw_one_dropout_mask_and_a_new_one_each_pass():
    attention = load(lora_dropout=0.5).train().decoder.language_model.layers[0].self_attn
    drop = [each.lora_dropout["default"] for each in (attention.k_proj, attention.q_proj, attention.v_proj)]
    passes = [[each(torch.ones(5, 64)) for each in drop] for _ in range(2)]
    assert all(torch.equal(passes[0][0], other) for other in passes[0])
    assert not torch.equal(passes[0][0], passes[1][0])
    assert set(passes[0][0].flatten().tolist()) == {0.0, 2.0}
    again = (
        drop[0](torch.ones(5, 64)),
        drop[0](torch.ones(5, 64)),
    )  # a pass that broke off leaves nothing behind
    assert not torch.equal(*again)


def test_a_tied_adapter_is_saved_as_the_official_trainer_does_and_scores_as_it_was_trained(groups, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    run(groups, out, epochs=1, learning_rate=1e-2, quant="none", dtype="float32")
    saved = load_file(out / "adapter_model.safetensors")
    theirs = load_file(PARITY / "train" / "adapter_before.safetensors")
    assert saved.keys() == theirs.keys()
    settings = json.loads((out / "adapter_config.json").read_text())
    assert set(settings["target_modules"]) == {"att_proj", "attn_out", "ff_out", "ff_proj"}
    model = load()
    model.restore(out)
    assert all(
        torch.equal(each, saved[key]) for key, each in saved_adapter(model.backbone, model.adapter)[1].items()
    )
    options = {"device": "cpu", "quant": "none", "dtype": "float32"}
    scores = Judge.load(str(out), **options).score(**TEXT).scores
    merge(JudgeConfig(model=str(out)), tmp_path / "merged")
    assert Judge.load(str(tmp_path / "merged"), **options).score(**TEXT).scores == pytest.approx(
        scores, abs=1e-5
    )
    before = Judge.load(str(PARITY / "checkpoint"), **options).score(**TEXT).scores
    assert scores != pytest.approx(before, abs=1e-3)


def test_targets_are_named_as_the_decoder_or_the_release_names_them():
    backbone = load().backbone
    model = load(lora_targets="att_proj, o_proj,")
    adapted = {name.split(".lora_B")[0].rpartition(".")[2] for name in adapter_weights(model.decoder)}
    assert {name for name in adapted if name != "weight"} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    with pytest.raises(UsageError, match=r"has no layer .*wq"):
        target_names(backbone, "wq")
    with pytest.raises(UsageError, match="names no layer"):
        target_names(backbone, " , ")


def test_a_layer_adapted_in_part_is_saved_by_the_decoders_names(groups, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    run(groups, out, epochs=1, lora_targets="q_proj,ff_proj", quant="none")
    keys = load_file(out / "adapter_model.safetensors")
    assert "base_model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight" in keys
    assert "base_model.model.language_model.layers.0.mlp.gate_proj.lora_A.weight" in keys
    model = load(lora_targets="q_proj,ff_proj")
    model.restore(out)
    mlp = model.decoder.language_model.layers[0].mlp
    assert mlp.up_proj.lora_A["default"].weight is mlp.gate_proj.lora_A["default"].weight
    Judge.load(str(out), device="cpu", quant="none").score(**TEXT)


def test_recomputed_activations_are_dropped_out_by_the_same_masks(groups, tmp_path):  # noqa: F811
    for name, recompute in (("kept", False), ("recomputed", True)):
        options = {"gradient_checkpointing": recompute, "lora_dropout": 0.3, "quant": "none", "limit": 4}
        run(groups, tmp_path / name, epochs=2, **options)
    kept, recomputed = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("kept", "recomputed")
    )
    for key, weight in kept.items():
        torch.testing.assert_close(weight, recomputed[key], rtol=1e-5, atol=1e-7)
