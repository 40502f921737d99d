"""Devices, compute types and families."""

from __future__ import annotations

import pytest
import torch

from yoj_cli.config import JudgeConfig
from yoj_cli.errors import DeviceError, InputError
from yoj_cli.inputs.records import Media
from yoj_cli.judge.backbone import family_of, resolve_device, resolve_dtype

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


def test_the_cpu_is_used_where_it_is_asked_for():
    assert resolve_device(JudgeConfig(device="cpu"), embedded=False).type == "cpu"


@without_gpu
def test_the_embedded_judge_runs_without_a_gpu():
    assert resolve_device(JudgeConfig(), embedded=True).type == "cpu"


@without_gpu
@pytest.mark.parametrize(("device", "embedded"), [("auto", False), ("cuda", True), ("cuda:0", False)])
def test_a_gpu_that_is_wanted_and_missing_is_an_error(device, embedded):
    with pytest.raises(DeviceError, match=r"--model demo.*--device cpu"):
        resolve_device(JudgeConfig(model="someone/judge", device=device), embedded=embedded)


def test_the_cpu_computes_in_float32_unless_asked_otherwise():
    cpu = torch.device("cpu")
    assert resolve_dtype(JudgeConfig(), cpu) is torch.float32
    assert resolve_dtype(JudgeConfig(dtype="bfloat16"), cpu) is torch.bfloat16


def test_an_unknown_architecture_is_read_as_a_text_only_decoder():
    family = family_of("llama")
    family.check_media([])
    with pytest.raises(InputError, match="llama\\) reads text only"):
        family.check_media([Media("image", "a.png")])


def test_a_text_only_decoder_judges_text(tmp_path, judges):
    """The Qwen3-VL test tokenizer on a plain Qwen3: no processor, no media, one row of positions."""
    import json

    from tests.adapters import make_text_only
    from tests.tiny_qwen3_vl import make_checkpoint

    donor = make_checkpoint(tmp_path / "donor")
    folder = make_text_only(tmp_path / "text", donor)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen3"
    together = judges(folder, mode="single").score(prompt="p", responses=["a", "b c"])
    alone = [judges(folder).score(prompt="p", responses=[text]).scores[0] for text in ("a", "b c")]
    assert together.scores == pytest.approx(alone, abs=1e-4)
