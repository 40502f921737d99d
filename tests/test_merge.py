"""`yoj merge`: the official format, value by value, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters import (
    ALPHA,
    BASE,
    RANK,
    fused_weights,
    make_adapter,
    make_official_adapter,
    make_text_only,
    merge_by_hand,
)
from tests.conftest import DATA, PARITY
from tests.test_parity import TOLERANCE, as_arguments
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError, ModelError, UsageError
from yoj_cli.storage import weights

GROUP = {"prompt": "p", "responses": ["a red dog", "two cats", "the sky"]}
OFFICIAL = load_file(BASE / "model.safetensors")
FLOAT = 5e-5


def run(checkpoint, out):
    merge(JudgeConfig(model=str(checkpoint)), out)
    return out


def load(folder, **options):
    return Judge.load(str(folder), **{"device": "cpu", "quant": "none", "dtype": "float32", **options})


def scores(folder, **options):
    return load(folder, **options).score(**GROUP).scores


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cast_base(folder, dtype):
    """The parity backbone in another type."""
    shutil.copytree(BASE, folder)
    state = {key: weight.to(dtype) for key, weight in OFFICIAL.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return make_adapter(tmp_path_factory.mktemp("adapter"), BASE)


@pytest.fixture(scope="module")
def merged(adapter, tmp_path_factory):
    return run(adapter, tmp_path_factory.mktemp("out") / "merged")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """The parity judge with an adapter that does nothing, merged: the official checkpoint again."""
    folder = tmp_path_factory.mktemp("unchanged")
    return run(make_adapter(folder / "adapter", BASE, std=0.0), folder / "merged")


def test_an_adapter_that_does_nothing_gives_the_official_file_again(unchanged):
    found = load_file(unchanged / "model.safetensors")
    assert {key: (w.shape, w.dtype) for key, w in found.items()} == {
        key: (w.shape, w.dtype) for key, w in OFFICIAL.items()
    }
    assert all(torch.equal(found[key], OFFICIAL[key]) for key in OFFICIAL)
    found_config = json.loads((unchanged / "config.json").read_text())
    rotary = found_config["text_config"].pop("rope_theta"), found_config["text_config"].pop("rope_scaling")
    assert rotary == (10000.0, None)  # the earlier form, beside the later one
    assert found_config == json.loads((BASE / "config.json").read_text())


def test_the_official_head_and_its_configuration_are_written(unchanged):
    head = torch.load(unchanged / "value_head.pt", weights_only=True)
    official = torch.load(BASE / "value_head.pt", weights_only=True)
    assert {key: weight.tolist() for key, weight in head.items()} == {
        key: weight.tolist() for key, weight in official.items()
    }
    config = json.loads((BASE / "reward_model_config.json").read_text())
    assert config.items() <= json.loads((unchanged / "reward_model_config.json").read_text()).items()
    assert "base_model" not in json.loads((unchanged / "reward_model_config.json").read_text())
    assert not list(unchanged.glob("adapter*"))


@pytest.mark.parametrize("index", range(9))
def test_its_scores_are_the_official_ones(judges, unchanged, golden, index):
    found = judges(unchanged).score(**as_arguments(golden[index])).scores
    assert found == pytest.approx(golden[index]["assistant"]["scores"], abs=TOLERANCE)


def test_fused_weights_are_w_plus_b_a_by_hand(adapter, merged):
    product = load_file(adapter / "adapter_model.safetensors")
    found = load_file(merged / "model.safetensors")

    def delta(layer):
        key = f"base_model.model.language_model.layers.{layer}"
        return ALPHA / RANK * product[f"{key}.lora_B.weight"] @ product[f"{key}.lora_A.weight"]

    for number in range(3):
        parts = {
            "self_attn.att_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            "self_attn.attn_out": ("self_attn.o_proj",),
            "mlp.ff_proj": ("mlp.up_proj", "mlp.gate_proj"),
            "mlp.ff_out": ("mlp.down_proj",),
        }
        for fused, layers in parts.items():
            key = f"model.transformer.blocks.{number}.{fused}.weight"
            wanted = OFFICIAL[key] + torch.cat([delta(f"{number}.{layer}") for layer in layers])
            assert torch.allclose(found[key], wanted, atol=1e-6)
            assert not torch.allclose(found[key], OFFICIAL[key], atol=1e-3)
    changed = {f"{name}.weight" for name in fused_weights(OFFICIAL)}
    assert all(torch.equal(found[key], OFFICIAL[key]) for key in OFFICIAL.keys() - changed)


def test_the_merged_model_scores_as_base_and_adapter(judges, adapter, merged, golden):
    for group in (GROUP, *(as_arguments(each) for each in golden)):
        assert judges(merged).score(**group).scores == pytest.approx(
            judges(adapter).score(**group).scores, abs=FLOAT
        )
    assert judges(merged).score(**GROUP).scores != pytest.approx(judges(BASE).score(**GROUP).scores, abs=1e-2)


def test_the_command_line_scores_the_same_before_and_after(yoj, adapter, tmp_path, write_lines):
    code, out, err = yoj("merge", adapter, "-o", tmp_path / "merged")
    assert (code, out) == (0, "")
    assert err.startswith("merged 21 layers: 1.5 MB in ")
    data = write_lines(GROUP)
    found = []
    for model in (adapter, tmp_path / "merged"):
        code, out, _ = yoj(
            "score", data, "-m", model, "--device", "cpu", "--quant", "none", "--dtype", "float32"
        )
        assert code == 0
        found.append(json.loads(out)["scores"])
    assert found[0] == pytest.approx(found[1], abs=FLOAT)


def test_the_quantized_scores_of_a_merged_model_are_others(judges, adapter, merged):
    """Rounding W + B A to 4 bits is not rounding W and adding B A; the command says so."""
    before, after = (judges(each, quant="4bit").score(**GROUP).scores for each in (adapter, merged))
    assert before != pytest.approx(after, abs=1e-4)


def test_transformers_reads_every_weight(merged):
    from transformers import AutoModelForImageTextToText

    _, report = AutoModelForImageTextToText.from_pretrained(merged, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_an_official_adapter_merges_as_by_hand(tmp_path):
    adapter = make_official_adapter(tmp_path / "adapter")
    found = load_file(run(adapter, tmp_path / "merged") / "model.safetensors")
    wanted = load_file(merge_by_hand(adapter, tmp_path / "by_hand") / "model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[key], wanted[key], atol=1e-6) for key in wanted)


def test_the_sum_is_rounded_once_to_the_type_of_the_base(tmp_path):
    base = cast_base(tmp_path / "base", torch.bfloat16)
    adapter = make_official_adapter(tmp_path / "adapter", base_model_name_or_path=str(base))
    found = load_file(run(adapter, tmp_path / "merged") / "model.safetensors")
    product = load_file(adapter / "adapter_model.safetensors")
    for layer, weight in fused_weights(OFFICIAL).items():
        a, b = (product[f"base_model.model.{layer}.lora_{kind}.weight"] for kind in "AB")
        wanted = (weight.bfloat16().float() + ALPHA / RANK * b @ a).bfloat16()
        assert found[f"{layer}.weight"].dtype is torch.bfloat16
        same = (
            (found[f"{layer}.weight"] == wanted).float().mean()
        )  # sums in another order may round elsewhere
        assert same > 0.999
    assert {weight.dtype for weight in found.values()} == {torch.bfloat16}


def test_the_demo_judge_gets_the_embedding_rows_and_names_of_the_official_loader(tmp_path, yoj):
    """transformers wrote its backbone: no "model." in front, and the embedding in two equal halves."""
    code, _, err = yoj("merge", "demo", "-o", tmp_path / "merged")
    assert code == 0
    assert "the base has no language-model head, nor has the result" in err
    base = load_file(Path(DATA).parents[1] / "yoj_cli" / "demo" / "backbone" / "model.safetensors")
    found = load_file(tmp_path / "merged" / "model.safetensors")
    assert all(key.startswith(("model.transformer.", "model.vision_backbone.")) for key in found)
    rows = [found[f"model.transformer.wte.{name}"] for name in ("embedding", "new_embedding")]
    assert [tuple(each.shape) for each in rows] == [(400, 128), (12, 128)]
    whole = torch.cat([base[f"transformer.wte.{name}"] for name in ("embedding", "new_embedding")])
    assert torch.equal(torch.cat(rows), whole)


def test_without_a_language_model_head_transformers_misses_nothing_else(tmp_path):
    from transformers import AutoModelForImageTextToText

    folder = run("demo", tmp_path / "merged")
    _, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert set(report["missing_keys"]) == {"lm_head.weight"}
    assert not report["unexpected_keys"]
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "Molmo2ForConditionalGeneration"
    ]


def test_qwen3_vl_merges_under_its_own_names(qwen_checkpoint, tmp_path):
    adapter = make_adapter(tmp_path / "adapter", qwen_checkpoint)
    merged = run(adapter, tmp_path / "merged")
    assert scores(merged) == pytest.approx(scores(adapter), abs=FLOAT)
    assert scores(merged) != pytest.approx(scores(qwen_checkpoint), abs=1e-2)
    names = [load_file(folder / "model.safetensors").keys() for folder in (merged, qwen_checkpoint)]
    assert names[0] == names[1]


@pytest.mark.parametrize("has_head", [True, False])
def test_a_text_only_decoder_merges_with_its_language_model_head(qwen_checkpoint, tmp_path, has_head):
    base = make_text_only(tmp_path / "base", qwen_checkpoint)
    if has_head:  # as `…ForCausalLM` writes it
        state = {f"model.{key}": w for key, w in load_file(base / "model.safetensors").items()}
        state["lm_head.weight"] = torch.randn(264, 64)
        save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    adapter = make_adapter(tmp_path / "adapter", base)
    merged = run(adapter, tmp_path / "merged")
    assert scores(merged) == pytest.approx(scores(adapter), abs=FLOAT)
    assert scores(merged) != pytest.approx(scores(base), abs=1e-2)
    found = load_file(merged / "model.safetensors")
    if has_head:
        assert torch.equal(found["lm_head.weight"], state["lm_head.weight"])
    assert found.keys() == load_file(base / "model.safetensors").keys()


def test_large_models_are_written_in_shards(adapter, merged, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", 500_000)
    folder = run(adapter, tmp_path / "merged")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(folder.glob("*.safetensors"))
    assert [path.name for path in shards] == [f"model-0000{n}-of-00004.safetensors" for n in (1, 2, 3, 4)]
    assert {path.name for path in shards} == set(index["weight_map"].values())
    assert index["metadata"]["total_size"] == sum(w.nbytes for w in OFFICIAL.values())
    assert all(path.stat().st_size < 520_000 for path in shards)
    assert scores(folder) == scores(merged)
    again = run(make_adapter(tmp_path / "adapter", folder, std=0.0), tmp_path / "again")  # a base in shards
    assert scores(again) == scores(merged)


def test_the_files_have_the_permissions_of_any_new_file(merged):
    assert len({path.stat().st_mode for path in merged.iterdir()}) == 1


def test_code_beside_the_base_is_carried_along_and_never_run(tmp_path):
    base = shutil.copytree(BASE, tmp_path / "base")
    (base / "modeling_molmo2.py").write_text("raise SystemExit('ran')")
    auto_map = {"AutoModelForImageTextToText": "modeling_molmo2.Molmo2ForConditionalGeneration"}
    edit_json(base / "config.json", auto_map=auto_map)
    merged = run(make_adapter(tmp_path / "adapter", base), tmp_path / "merged")
    assert (merged / "modeling_molmo2.py").read_text() == "raise SystemExit('ran')"
    assert json.loads((merged / "config.json").read_text())["auto_map"] == auto_map
    assert scores(merged) == pytest.approx(scores(tmp_path / "adapter"), abs=FLOAT)


def test_code_that_stayed_on_the_hub_is_named_with_its_repository(tmp_path, monkeypatch):
    import huggingface_hub.constants

    repo = tmp_path / "hub" / "models--someone--base"
    base = shutil.copytree(BASE, repo / "snapshots" / "0123456789abcdef0123456789abcdef01234567")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(base.name)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    edit_json(base / "config.json", auto_map={"AutoConfig": "configuration_molmo2.Molmo2Config"})
    edit_json(base / "processor_config.json", auto_map={"AutoProcessor": "processing_molmo2.Molmo2Processor"})
    adapter = make_adapter(tmp_path / "adapter", base, name="someone/base")
    merged = run(adapter, tmp_path / "merged")
    named = [
        json.loads((merged / name).read_text())["auto_map"]
        for name in ("config.json", "processor_config.json")
    ]
    assert named == [
        {"AutoConfig": "someone/base--configuration_molmo2.Molmo2Config"},
        {"AutoProcessor": "someone/base--processing_molmo2.Molmo2Processor"},
    ]
    assert scores(merged) == pytest.approx(scores(adapter), abs=FLOAT)


def test_a_merged_checkpoint_has_nothing_to_merge(tmp_path):
    with pytest.raises(CheckpointError, match="there is nothing to merge"):
        run(BASE, tmp_path / "merged")


def test_what_is_there_already_is_not_written_over(adapter, tmp_path):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    file.write_text("mine")
    for out in (folder, file):
        with pytest.raises(UsageError, match="exists already"):
            run(adapter, out)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert file.read_text() == "mine"


def test_an_empty_folder_is_a_new_one(adapter, merged, tmp_path):
    (tmp_path / "out").mkdir()
    assert scores(run(adapter, tmp_path / "out")) == scores(merged)


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="there is no such folder"):
        run("./nowhere", tmp_path / "merged")


def test_a_disk_without_room_is_found_before_anything_is_written(adapter, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UsageError, match=r"no space left: 0\.00152 GB are to be written, 0\.001 GB are free"):
        run(adapter, tmp_path / "merged")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_half_way_leaves_nothing(adapter, tmp_path, monkeypatch, problem):
    def write(*arguments, **options):
        Path(arguments[1]).write_bytes(b"half a file")
        raise problem

    monkeypatch.setattr("safetensors.torch.save_file", write)
    with pytest.raises((UsageError, KeyboardInterrupt)) as raised:
        run(adapter, tmp_path / "merged")
    assert not list(tmp_path.iterdir())
    if isinstance(raised.value, UsageError):
        assert "cannot be written (No space left on device)" in str(raised.value)


def test_a_folder_that_cannot_be_made_is_an_error(adapter, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        run(adapter, tmp_path / "file" / "merged")


def test_a_base_in_names_that_were_never_released_is_an_error(adapter, tmp_path):
    base = shutil.copytree(BASE, tmp_path / "base")
    state = {key.replace("model.vision_backbone", "model.eyes"): w for key, w in OFFICIAL.items()}
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    edit_json(copy / "reward_model_config.json", base_model=str(base))
    with pytest.raises(CheckpointError, match=r"model\.eyes\S+ is not how the released files name a weight"):
        run(copy, tmp_path / "merged")


def test_a_base_that_lacks_an_adapted_layer_is_an_error(adapter, tmp_path):
    base = shutil.copytree(BASE, tmp_path / "base")
    state = {key: w for key, w in OFFICIAL.items() if "blocks.1.mlp.ff_out" not in key}
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    edit_json(copy / "reward_model_config.json", base_model=str(base))
    with pytest.raises(
        CheckpointError, match=r"do not hold 1 adapted layers \(.*layers\.1\.mlp\.down_proj\)"
    ):
        run(copy, tmp_path / "merged")


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("reward_model_config.json", {"score_divisor": 4.0}, "scores are divided by 4.0"),
        ("adapter_config.json", {"init_lora_weights": "pissa"}, "started with 'pissa'"),
        ("reward_model_config.json", {"separator": "<|no_sep|>"}, "must hold one special token"),
    ],
)
def test_what_the_official_format_cannot_say_is_an_error(adapter, tmp_path, file, changes, message):
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    edit_json(copy / file, **changes)
    with pytest.raises(CheckpointError, match=message.replace("|", r"\|")):
        run(copy, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_with_biases_is_not_merged_as_if_it_had_none(adapter, tmp_path):
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    edit_json(copy / "adapter_config.json", lora_bias=True)
    with pytest.raises(CheckpointError, match="the adapter has biases"):
        run(copy, tmp_path / "merged")


def test_a_sum_that_overflows_the_type_of_the_base_is_an_error(adapter, tmp_path):
    base = cast_base(tmp_path / "base", torch.float16)
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    edit_json(copy / "reward_model_config.json", base_model=str(base))
    edit_json(copy / "adapter_config.json", lora_alpha=10_000_000)
    with pytest.raises(CheckpointError, match="no longer finite"):
        run(copy, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_judge_is_read_from_the_parity_pictures_too(judges, adapter, merged):
    group = {"prompt": "what?", "images": [str(PARITY / "img5.png")], "responses": ["a", "b", "c"]}
    assert judges(merged).score(**group).scores == pytest.approx(
        judges(adapter).score(**group).scores, abs=FLOAT
    )
