"""`yoj quantize`: stored 4-bit weights score as those quantized while loading, to the last bit."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters import BASE, make_adapter, make_official_adapter, make_text_only
from tests.conftest import PARITY
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.checkpoint.quantize import quantize
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError, ModelError, UsageError

GROUP = {"prompt": "p", "responses": ["a red dog", "two cats", "the sky"]}
PICTURE = {"prompt": "what?", "images": [str(PARITY / "img4.png")], "responses": ["a red dog", "two cats"]}
DTYPES = ["float32", "bfloat16"]


def run(checkpoint, out, **options):
    quantize(JudgeConfig(model=str(checkpoint), device="cpu", **options), out)
    return out


def load(folder, **options):
    return Judge.load(str(folder), **{"device": "cpu", "quant": "4bit", "dtype": "float32", **options})


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def halve_base(folder, source=BASE):
    """A merged checkpoint in bfloat16, as published ones are."""
    shutil.copytree(source, folder)
    state = {key: weight.bfloat16() for key, weight in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", dtype="bfloat16")
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, qwen_checkpoint):
    """One of each kind, in bfloat16, by name."""
    root = tmp_path_factory.mktemp("checkpoints")
    merged = halve_base(root / "merged")
    qwen = halve_base(root / "qwen3_vl", qwen_checkpoint)
    text = halve_base(root / "text_only", make_text_only(root / "text", qwen_checkpoint))
    return {
        "merged": merged,
        "adapter": make_adapter(root / "adapter", merged),
        "official adapter": make_official_adapter(root / "official", base_model_name_or_path=str(merged)),
        "qwen3_vl": qwen,
        "qwen3_vl adapter": make_adapter(root / "qwen_adapter", qwen),
        "text_only": text,
        "text_only adapter": make_adapter(root / "text_adapter", text),
    }


@pytest.fixture(scope="module")
def quantized(checkpoints, tmp_path_factory):
    """The same, quantized, each when it is first asked for."""
    root, done = tmp_path_factory.mktemp("quantized"), {}

    def get(kind):
        if kind not in done:
            done[kind] = run(checkpoints[kind], root / kind)
        return done[kind]

    return get


KINDS = (
    *("merged", "adapter", "official adapter", "qwen3_vl", "qwen3_vl adapter"),
    *("text_only", "text_only adapter"),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_equal_to_the_bit_before_and_after(checkpoints, quantized, kind, dtype):
    before, after = load(checkpoints[kind], dtype=dtype), load(quantized(kind), dtype=dtype)
    for group in (GROUP,) if "text" in kind else (GROUP, PICTURE):
        assert after.score(**group).scores == before.score(**group).scores
    assert after.score(**GROUP).scores != load(checkpoints[kind], quant="none").score(**GROUP).scores


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_float32_base_scores_equal_in_the_type_it_was_stored_for(tmp_path, dtype):
    folder = run(BASE, tmp_path / "quantized", dtype=dtype)
    assert load(folder, dtype=dtype).score(**GROUP).scores == load(BASE, dtype=dtype).score(**GROUP).scores


@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_computes_in_the_type_asked_for_and_not_in_the_stored_one(quantized, dtype):
    judge, wanted = load(quantized("merged"), dtype=dtype), getattr(torch, dtype)
    layer = judge.backbone.model.language_model.layers[0].mlp.up_proj
    assert (layer.compute_dtype, layer.weight.quant_state.dtype) == (wanted, wanted)
    floats = {w.dtype for w in judge.backbone.model.parameters() if w.is_floating_point()}
    assert floats == {wanted}


def test_the_language_model_is_stored_in_4_bit_and_all_else_as_it_was(checkpoints, quantized):
    found = load_file(quantized("merged") / "model.safetensors")
    layers = [key for key in found if re.fullmatch(r"language_model\.layers\..*_proj\.weight", key)]
    assert len(layers) == 7 * 3
    assert {found[key].dtype for key in layers} == {torch.uint8}
    sizes = {"q_proj": 64 * 64, "down_proj": 64 * 128}  # weights of a layer; half a byte each
    for name, size in sizes.items():
        assert {found[key].numel() for key in layers if name in key} == {size // 2}
    others = [w for key, w in found.items() if not any(key.startswith(layer) for layer in layers)]
    assert {weight.dtype for weight in others} == {torch.bfloat16}


def test_the_adapter_and_the_head_are_not_touched(checkpoints, quantized):
    for name in ("adapter_model.safetensors", "value_head.safetensors"):
        assert (quantized("adapter") / name).read_bytes() == (checkpoints["adapter"] / name).read_bytes()
    assert (quantized("merged") / "value_head.pt").read_bytes() == (BASE / "value_head.pt").read_bytes()


def test_the_folder_holds_its_base_and_can_be_moved(quantized, tmp_path):
    moved = shutil.copytree(quantized("adapter"), tmp_path / "elsewhere")
    assert load(moved).score(**GROUP).scores == load(quantized("adapter")).score(**GROUP).scores
    config = json.loads((moved / "reward_model_config.json").read_text())
    assert config["base_model"] == "backbone"
    assert json.loads((moved / "adapter_config.json").read_text())["base_model_name_or_path"] == "backbone"


@pytest.mark.parametrize("quant", ["none", "8bit"])
def test_other_weights_than_the_stored_ones_cannot_be_had(quantized, quant):
    with pytest.raises(UsageError, match=f"the backbone is stored in 4bit, {quant} cannot be had from it"):
        load(quantized("merged"), quant=quant)


def test_unasked_the_stored_quantization_is_taken_and_named(quantized):
    assert load(quantized("merged"), quant="auto").description["quant"] == "4bit"


def test_the_command_line_scores_the_same_and_reports_what_was_gained(
    yoj, checkpoints, tmp_path, write_lines
):
    model, out = checkpoints["adapter"], tmp_path / "quantized"
    code, text, err = yoj("quantize", model, "-o", out, "--device", "cpu")
    assert (code, text) == (0, "")
    assert re.fullmatch(r"quantized: 0\.8 MB -> 0\.5 MB, loads in [\d.]+ s instead of [\d.]+ s\n", err)
    data, found = write_lines(GROUP), []
    for folder in (model, out):
        code, text, _ = yoj("score", data, "-m", folder, "--device", "cpu", "--quant", "4bit")
        assert code == 0
        found.append(json.loads(text)["scores"])
    assert found[0] == found[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_the_demo_judge_needs_no_gpu_and_scores_equal(yoj, tmp_path):
    group = {"prompt": "Describe this image.", "responses": ["one red circle", "two blue squares"]}
    assert yoj("quantize", "demo", "-o", tmp_path / "q")[0] == 0
    assert load(tmp_path / "q").score(**group).scores == load("demo").score(**group).scores


def test_what_is_quantized_already_is_an_error(quantized, tmp_path):
    for kind in ("merged", "adapter"):
        with pytest.raises(CheckpointError, match="stored quantized already"):
            run(quantized(kind), tmp_path / "again")


def test_a_lora_is_not_merged_into_stored_4_bit_weights(quantized, tmp_path):
    with pytest.raises(CheckpointError, match="the base is stored quantized"):
        merge(JudgeConfig(model=str(quantized("adapter"))), tmp_path / "merged")


def test_weights_quantized_by_another_method_are_an_error(quantized, tmp_path):
    folder = shutil.copytree(quantized("merged"), tmp_path / "other")
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match="stored quantized by gptq; only bitsandbytes is read"):
        load(folder)


def test_what_is_there_already_is_not_written_over(checkpoints, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        run(checkpoints["merged"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_full_disk_leaves_nothing(checkpoints, tmp_path, monkeypatch):
    def write(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", write)
    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\)"):
        run(checkpoints["adapter"], tmp_path / "quantized")
    assert not list(tmp_path.iterdir())


def test_an_adapter_that_does_not_fit_is_found_before_anything_is_written(checkpoints, tmp_path):
    copy = shutil.copytree(checkpoints["adapter"], tmp_path / "adapter")
    state = load_file(copy / "adapter_model.safetensors")
    state.pop(next(iter(state)))
    save_file(state, copy / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="the adapter lacks 1 weights"):
        run(copy, tmp_path / "quantized")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_file_of_stored_weights_that_lacks_one_is_an_error(quantized, tmp_path):
    folder = shutil.copytree(quantized("merged"), tmp_path / "damaged")
    path = folder / "model.safetensors"
    state = {key: w for key, w in load_file(path).items() if "layers.1.mlp.up_proj" not in key}
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="the backbone cannot be loaded"):
        load(folder)


def test_stored_weights_without_their_scales_are_an_error(quantized, tmp_path):
    """The 4 bits alone say nothing."""
    folder = shutil.copytree(quantized("merged"), tmp_path / "damaged")
    path = folder / "model.safetensors"
    state = {key: w for key, w in load_file(path).items() if "layers.1.mlp.up_proj.weight." not in key}
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"lacks the scales of the 4-bit weights of .*layers\.1\.mlp\.up_proj"
    ):
        load(folder)
