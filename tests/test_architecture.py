"""Bases of other architectures: refused in one error at the start, or as good a base as Llama."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel

from tests.conftest import Run
from tests.tiny_text_bases import make_judge, make_other, make_tokenizer, recipe
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.model.attention import install
from yoj_cli.model.branch_probe import keeps_branches_apart
from yoj_cli.model.family import TEXT_ONLY
from yoj_cli.model.load import load_on_meta
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train

GROUP = {"prompt": "Which dog?", "responses": ["the dog", "a cat in the park", "two dogs"]}
RANKED = {**GROUP, "rankings": [1, 2, 3]}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
LLAMA = {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {**LLAMA, "moe_intermediate_size": 16, "num_experts_per_tok": 2}
FALCON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MAMBA = {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}
OTHERS: dict[str, dict[str, object]] = {
    "gpt_neox": {**SIZES, "intermediate_size": 48},  # its language-model head is "embed_out"
    "exaone": LLAMA,  # its files name the weights otherwise than the decoder
    "qwen2_moe": {
        **EXPERTS,
        "num_experts": 4,
        "shared_expert_intermediate_size": 16,
    },  # experts are no layers
    "llama4_text": {**LLAMA, "num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 64},
    "phimoe": {**LLAMA, "num_local_experts": 2},
    "gemma4_text": {**LLAMA, "global_head_dim": 8, "hidden_size_per_layer_input": 8},  # a layer at the top
    "opt": {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False},  # as OPT-350m
    "falcon_h1": {**LLAMA, **MAMBA},  # a Mamba mixer beside the attention of every layer
}
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "bert-generation": ({**SIZES, "intermediate_size": 48}, "attends to tokens in both directions"),
    "gemma3_text": ({**LLAMA, "use_bidirectional_attention": True}, "attends to tokens in both directions"),
    "bart": ({"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}, "is an encoder with a decoder"),
    "gemma2": (LLAMA, "computes attention in a way of its own"),
    "gpt2": ({"n_embd": 32, "n_layer": 2, "n_head": 4}, "has no linear layer"),
}


@pytest.fixture
def data(write_lines) -> Path:
    return write_lines(*(RANKED for _ in range(3)))


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_is_no_causal_decoder_of_linear_layers_is_one_error_at_the_start(
    architecture, tmp_path, data, yoj: Run
):
    options, problem = REFUSED[architecture]
    base = tmp_path / "base"
    make_tokenizer(base)
    # Without weights: it is refused before they are read.
    CONFIG_MAPPING[architecture](vocab_size=300, **options).save_pretrained(base)
    code, _, err = yoj("train", data, "--base", base, "-o", tmp_path / "out", "--device", "cpu", "--dry-run")
    assert code == 3
    assert f"config.json: the backbone ({architecture}) {problem}" in err
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("architecture", OTHERS)
def test_others_score_as_in_training_and_merged(architecture, tmp_path):
    if architecture not in CONFIG_MAPPING:
        pytest.skip("this release of transformers does not have it")
    base = make_other(tmp_path / "base", architecture, **OTHERS[architecture])
    wanted = make_judge(tmp_path / "judge", base, GROUP)
    saved = json.loads((tmp_path / "judge" / "adapter_config.json").read_text())
    assert not saved["target_parameters"]
    merge(JudgeConfig(model=str(tmp_path / "judge")), tmp_path / "merged")
    for folder in ("judge", "merged"):
        judge = Judge.load(str(tmp_path / folder), device="cpu", quant="none", dtype="float32")
        assert list(judge.score(**GROUP).scores) == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize(
    ("architecture", "options", "is_apart"),
    [
        ("llama", LLAMA, True),
        ("falcon", FALCON, False),  # fails on the mask
        ("stablelm", LLAMA, False),  # hands attention over without the plan
        ("falcon_h1", OTHERS["falcon_h1"], False),  # reads one branch after the other, and says nothing
    ],
)
def test_whether_branches_are_kept_apart_is_found_out(architecture, options, is_apart):
    torch.manual_seed(0)
    model = AutoModel.from_config(CONFIG_MAPPING[architecture](vocab_size=300, **options)).eval()
    install(model)
    assert keeps_branches_apart(model, 2, torch.device("cpu")) is is_apart


def test_a_base_that_cannot_keep_branches_apart_trains_and_evaluates_multi_alone(tmp_path, data, yoj: Run):
    base = make_other(tmp_path / "base", "falcon", **FALCON)
    out = tmp_path / "judge"
    assert train(prepare([data], out, recipe(base, epochs=1), held_out=[data]))
    assert any("eval_loss" in line for line in read_metrics(out / "metrics.jsonl"))
    options = ["--device", "cpu", "--quant", "none", "--mode", "single"]
    for command in (["score", "-m", out, data], ["train", data, "--base", base, "-o", tmp_path / "single"]):
        code, _, err = yoj(*command, *options)
        assert code == 3
        assert "does not keep branches apart" in err
        assert "--mode multi" in err


def test_the_layers_that_take_no_adapter_are_there(tmp_path):
    with torch.device("meta"):
        model = AutoModel.from_config(CONFIG_MAPPING["falcon_h1"](vocab_size=300, **OTHERS["falcon_h1"]))
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    assert names.issuperset(TEXT_ONLY["falcon_h1"].unadapted)


def test_a_base_of_two_sets_of_rotary_frequencies_reads_within_the_first(tmp_path):
    """Which set a pass reads with, its longest sequence decides: a group's scores would depend on its batch."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 60}
    rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    base = make_other(
        tmp_path / "base", "phi3", **LLAMA, rope_parameters=rope, original_max_position_embeddings=60
    )
    assert load_on_meta(base, JudgeConfig(model=str(base))).context == 60


def test_a_base_without_its_tokenizer_says_which_file_is_missing(tmp_path, data, yoj: Run):
    base = make_other(tmp_path / "base", "llama", **LLAMA)
    (base / "tokenizer.json").unlink()
    code, _, err = yoj("train", data, "--base", base, "-o", tmp_path / "out", "--device", "cpu")
    assert code == 3
    assert "there is no tokenizer.json" in err
