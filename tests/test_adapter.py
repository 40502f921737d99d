"""Adapters of the official trainer: fused layers on a decoder that holds them in parts."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters import ALPHA, BASE, FUSED, RANK, make_official_adapter, merge_by_hand
from tests.conftest import PARITY
from yoj_cli import Judge
from yoj_cli.errors import CheckpointError
from yoj_cli.model.family import MOLMO2, QWEN3_VL

TEXT = {"prompt": "p", "responses": ["a red dog", "two cats", "the sky"]}
PICTURE = {"prompt": "what?", "images": [str(PARITY / "img4.png")], "responses": ["a red dog", "two cats"]}


def load(folder, **options):
    return Judge.load(str(folder), **{"device": "cpu", "quant": "none", "dtype": "float32", **options})


def rewrite(folder, change):
    """Replace the adapter's weights by what `change` makes of them."""
    path = folder / "adapter_model.safetensors"
    state = change(load_file(path))
    save_file({key: weight.contiguous() for key, weight in state.items()}, path, metadata={"format": "pt"})


def put_in_front(prefix, state):
    return {key.replace("base_model.model.", f"base_model.model.{prefix}"): w for key, w in state.items()}


@pytest.fixture
def fused(tmp_path):
    return make_official_adapter(tmp_path / "fused")


@pytest.mark.parametrize("group", [TEXT, PICTURE])
def test_a_fused_adapter_scores_as_the_fused_weights_merged_by_hand(fused, tmp_path, judges, group):
    wanted = load(merge_by_hand(fused, tmp_path / "by_hand")).score(**group).scores
    assert load(fused).score(**group).scores == pytest.approx(wanted, abs=1e-5)
    assert judges(BASE).score(**group).scores != pytest.approx(wanted, abs=1e-2)


@pytest.mark.parametrize("layer", FUSED)
def test_each_fused_layer_alone_finds_its_parts(fused, tmp_path, layer):
    """A wrong order of rows in one layer could hide behind the others."""
    rewrite(fused, lambda state: {key: weight * (layer in key) for key, weight in state.items()})
    wanted = load(merge_by_hand(fused, tmp_path / "by_hand")).score(**TEXT).scores
    assert load(fused).score(**TEXT).scores == pytest.approx(wanted, abs=1e-5)


def test_ranks_and_alphas_by_fused_name_reach_the_parts(tmp_path):
    patterns = {"rank_pattern": {"ff_proj": 2}, "alpha_pattern": {"att_proj": 32}}
    adapter = make_official_adapter(tmp_path / "fused", **patterns)
    scales = {"ff_proj": ALPHA / 2, "att_proj": 32 / RANK}
    wanted = load(merge_by_hand(adapter, tmp_path / "by_hand", scales)).score(**TEXT).scores
    assert load(adapter).score(**TEXT).scores == pytest.approx(wanted, abs=1e-5)


def test_a_fused_adapter_loads_onto_a_quantized_backbone(fused, judges):
    scores = load(fused, quant="4bit").score(**TEXT).scores
    assert scores != pytest.approx(judges(BASE, quant="4bit").score(**TEXT).scores, abs=1e-2)


def test_the_parts_share_no_memory(fused):
    """Training one of them must not change the others."""
    layer = load(fused).backbone.model.language_model.layers[0].self_attn
    q, k = (part.lora_A["default"].weight for part in (layer.q_proj, layer.k_proj))
    assert torch.equal(q, k)
    assert q.data_ptr() != k.data_ptr()


def test_rows_that_are_not_those_of_the_parts_are_an_error(fused):
    def cut(state):
        return {key: w[:-1] if "att_proj.lora_B" in key else w for key, w in state.items()}

    rewrite(fused, cut)
    with pytest.raises(CheckpointError, match=r"att_proj\.lora_B\.weight is \(127, 4\) .* has 128 rows"):
        load(fused)


def test_columns_that_are_not_those_of_the_parts_are_an_error(fused):
    rewrite(fused, lambda state: {key: w[:, :-1] if "lora_A" in key else w for key, w in state.items()})
    with pytest.raises(CheckpointError, match=r"lora_A\.weight is \(4, \d+\) in the file"):
        load(fused)


def test_a_fused_layer_that_the_config_names_and_the_file_lacks_is_an_error(fused):
    rewrite(fused, lambda state: {key: w for key, w in state.items() if "blocks.1.mlp.ff_proj" not in key})
    with pytest.raises(CheckpointError, match=r"lacks weights for 2 modules .*layers\.1\.mlp\.gate_proj"):
        load(fused)


def test_half_a_fused_layer_is_an_error(fused):
    rewrite(
        fused, lambda state: {key: w for key, w in state.items() if "blocks.1.mlp.ff_proj.lora_B" not in key}
    )
    with pytest.raises(CheckpointError, match="the adapter lacks 2 weights"):
        load(fused)


def test_a_layer_adapted_whole_and_in_part_is_an_error(fused):
    def add(state):
        a, b = torch.zeros(RANK, 64), torch.zeros(64, RANK)
        name = "base_model.model.language_model.layers.0.self_attn.q_proj"
        return state | {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}

    rewrite(fused, add)
    with pytest.raises(CheckpointError, match=r"q_proj and .*att_proj both adapt language_model.*q_proj"):
        load(fused)


def test_a_layer_beyond_the_backbone_is_an_error(fused):
    rewrite(fused, lambda state: {key.replace("blocks.2.", "blocks.9."): w for key, w in state.items()})
    with pytest.raises(CheckpointError, match="for another backbone"):
        load(fused)


def test_alphas_are_found_by_the_names_of_the_whole_model(adapter_checkpoint, tmp_path):
    """An adapter saved from `…ForConditionalGeneration` names its layers with one "model." more."""
    scores = []
    for prefix in ("", "model."):
        folder = shutil.copytree(adapter_checkpoint, tmp_path / f"prefix-{prefix}")
        path = folder / "adapter_config.json"
        pattern = {f"{prefix}language_model.layers.0.mlp.up_proj": 80}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"alpha_pattern": pattern}))
        rewrite(folder, partial(put_in_front, prefix))
        scores.append(load(folder).score(**TEXT).scores)
    assert scores[0] == scores[1]
    assert scores[0] != load(adapter_checkpoint).score(**TEXT).scores


def test_released_names_and_the_decoders_are_each_others_reverse():
    for released, parts in MOLMO2.released.layers.items():
        name = released.replace("*", "12")
        layers = MOLMO2.layers_of(name)
        assert layers == tuple(part.replace("*", "12") for part in parts)
        assert {MOLMO2.released_name(layer) for layer in layers} == {name}
    assert QWEN3_VL.layers_of("language_model.layers.0.mlp.up_proj") == (
        "language_model.layers.0.mlp.up_proj",
    )
