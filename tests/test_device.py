"""Devices, compute types and quantization: what is given always wins, and what `auto` stands for."""

from __future__ import annotations

import pytest
import torch

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import DeviceError
from yoj_cli.model.device import UNASKED_ON_CPU_BYTES, available_bytes, resolve_device
from yoj_cli.model.precision import MEMORY_MARGIN, has_native_bfloat16, resolve_dtype, resolve_quant

CPU = torch.device("cpu")
GPU = torch.device("cuda")
SMALL, LARGE = 600_000, 8_900_000_000

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


def test_the_cpu_is_used_where_it_is_asked_for():
    assert resolve_device(JudgeConfig(device="cpu"), LARGE).type == "cpu"


@without_gpu
@pytest.mark.parametrize("n_bytes", [0, SMALL, UNASKED_ON_CPU_BYTES])
def test_a_small_judge_runs_on_a_cpu_unasked(n_bytes):
    assert resolve_device(JudgeConfig(), n_bytes).type == "cpu"


@without_gpu
def test_a_large_one_is_refused_with_its_size_and_both_ways_out():
    with pytest.raises(DeviceError, match=r"someone/judge has 8\.9 GB.*(?s:.*)--model demo.*--device cpu"):
        resolve_device(JudgeConfig(model="someone/judge"), LARGE)


@without_gpu
def test_a_size_that_nobody_knows_is_taken_for_a_large_one():
    with pytest.raises(DeviceError, match="unknown size"):
        resolve_device(JudgeConfig(), None)


@without_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_is_asked_for_and_missing_is_an_error_for_a_small_judge_too(device):
    with pytest.raises(DeviceError, match=rf"--device {device}: no CUDA GPU was found"):
        resolve_device(JudgeConfig(device=device), SMALL)


def test_a_cpu_computes_in_bfloat16_where_it_can():
    assert resolve_dtype("auto", CPU) is (torch.bfloat16 if has_native_bfloat16() else torch.float32)


def test_the_type_that_was_trained_in_is_taken_where_the_device_has_it():
    assert resolve_dtype("auto", CPU, "float32") is torch.float32
    assert resolve_dtype("auto", CPU, "bfloat16") is resolve_dtype("auto", CPU)
    assert resolve_dtype("auto", CPU, "float16") is resolve_dtype("auto", CPU)  # no CPU multiplies it


@pytest.mark.parametrize("trained", [None, "float32"])
def test_a_given_type_wins(trained):
    assert resolve_dtype("bfloat16", CPU, trained) is torch.bfloat16
    assert resolve_dtype("float16", CPU, trained) is torch.float16


@pytest.mark.parametrize(
    ("device", "found", "expected"),
    [
        (GPU, {}, "4bit"),
        (CPU, {}, "none"),
        (CPU, {"trained": "4bit"}, "4bit"),
        (GPU, {"trained": "none"}, "none"),
        (CPU, {"stored": "4bit"}, "4bit"),
        (GPU, {"stored": "8bit", "trained": "4bit"}, "8bit"),
    ],
)
def test_auto_is_what_is_stored_or_trained_else_4_bit_on_a_gpu_and_none_on_a_cpu(device, found, expected):
    assert resolve_quant("auto", device, torch.float32, n_parameters=1000, **found) == expected


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("asked", ["4bit", "8bit", "none"])
def test_a_given_quantization_wins(device, asked):
    found = resolve_quant(asked, device, torch.float32, n_parameters=10**15, stored="4bit", trained="none")
    assert found == asked


def test_weights_that_memory_does_not_allow_are_quantized_on_a_cpu():
    """The room that is asked for goes with the compute type's width."""
    n_parameters = int(1.5 * available_bytes() / MEMORY_MARGIN / 4)
    assert resolve_quant("auto", CPU, torch.float32, n_parameters=n_parameters) == "4bit"
    assert resolve_quant("auto", CPU, torch.bfloat16, n_parameters=n_parameters) == "none"
    assert resolve_quant("auto", CPU, torch.float32, n_parameters=n_parameters, trained="none") == "4bit"
