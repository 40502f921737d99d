"""A random policy that reads pictures and writes bytes, small enough to be trained in a test."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_qwen3_vl import make_checkpoint


def make_policy(folder: Path) -> Path:
    """Write a Qwen3-VL with a language head, and its processor."""
    import torch
    from transformers import AutoConfig, AutoProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    make_checkpoint(folder / "backbone")
    config = AutoConfig.from_pretrained(folder / "backbone")
    assert isinstance(config, Qwen3VLConfig)
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).float().save_pretrained(folder / "policy")
    AutoProcessor.from_pretrained(folder / "backbone").save_pretrained(folder / "policy")
    return folder / "policy"
