"""Adapter checkpoints with random weights, on any base, as this program and as the official trainer write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.conftest import PARITY

BASE = PARITY / "checkpoint"
RANK, ALPHA = 4, 8
FUSED = ("self_attn.att_proj", "self_attn.attn_out", "mlp.ff_proj", "mlp.ff_out")


def make_adapter(folder: Path, base: Path, *, std: float = 0.1, name: str | None = None) -> Path:
    """A checkpoint of ours: a random LoRA on every language layer, and the base's own head.

    Args:
        std: of A and B; with 0, B is zero and the adapter changes nothing.
        name: what the checkpoint calls its base; its folder if None.
    """
    from yoj_cli.checkpoint.head_files import load_head
    from yoj_cli.checkpoint.read import read_checkpoint
    from yoj_cli.checkpoint.save import save_checkpoint
    from yoj_cli.config.judge import JudgeConfig
    from yoj_cli.model.adapter import adapter_weights, add_adapter
    from yoj_cli.model.load import load_on_meta

    config = JudgeConfig(model=str(base))
    on_meta = load_on_meta(base, config)
    adapter = add_adapter(on_meta, r=RANK, alpha=ALPHA, dropout=0.0, tied=False)
    generator = torch.Generator().manual_seed(0)
    for key, weight in adapter_weights(on_meta.model).items():
        value = torch.randn(weight.shape, generator=generator) * (0.1 if "lora_A" in key else std)
        layer, _, leaf = key.rpartition(".")
        setattr(on_meta.model.get_submodule(layer), leaf, torch.nn.Parameter(value))
    checkpoint = read_checkpoint(config)
    folder.mkdir(parents=True, exist_ok=True)
    head = load_head(checkpoint.folder, checkpoint.head, on_meta)
    save_checkpoint(
        folder,
        on_meta,
        head,
        adapter,
        base_model=name or str(base),
        separator=checkpoint.separator,
        role=checkpoint.role,
    )
    return folder


def make_official_adapter(folder: Path, **config: object) -> Path:
    """What the official trainer saves on the parity backbone: fused layers, no word of ours in the config."""
    shutil.copytree(BASE, folder, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer, weight in fused_weights(load_file(BASE / "model.safetensors")).items():
        key = f"base_model.model.{layer}"
        ranks = config.get("rank_pattern", {})
        assert isinstance(ranks, Mapping)
        r = ranks.get(layer.rpartition(".")[2], RANK)
        state[f"{key}.lora_A.weight"] = torch.randn(r, weight.shape[1], generator=generator) * 0.1
        state[f"{key}.lora_B.weight"] = torch.randn(weight.shape[0], r, generator=generator) * 0.1
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    content = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(BASE),
        "r": RANK,
        "lora_alpha": ALPHA,
        "task_type": "CAUSAL_LM",
        "target_modules": [name.rpartition(".")[2] for name in FUSED],
    }
    (folder / "adapter_config.json").write_text(json.dumps(content | config))
    return folder


def fused_weights(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The language layers of an official file, by name without ".weight"."""
    return {
        key.removesuffix(".weight"): weight
        for key, weight in state.items()
        if key.removesuffix(".weight").endswith(FUSED)
    }


def merge_by_hand(adapter: Path, folder: Path, scales: Mapping[str, float] | None = None) -> Path:
    """An official merged checkpoint with W + scale B A written into its fused weights.

    Args:
        scales: scale of a fused layer by the end of its name; alpha / r if not given.
    """
    shutil.copytree(BASE, folder)
    state = load_file(folder / "model.safetensors")
    product = load_file(adapter / "adapter_model.safetensors")
    for layer in fused_weights(state):
        a, b = (product[f"base_model.model.{layer}.lora_{kind}.weight"] for kind in "AB")
        scale = (scales or {}).get(layer.rpartition(".")[2], ALPHA / RANK)
        state[f"{layer}.weight"] += scale * b @ a
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_text_only(folder: Path, donor: Path, architecture: str = "qwen3", **options: object) -> Path:
    """A plain decoder with the tokenizer and the head of a Qwen3-VL checkpoint, in the merged format.

    Args:
        options: of its configuration, instead of or besides the small ones.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(donor)
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    small |= {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512}
    config = AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **{**small, **options})
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name in ("value_head.pt", "reward_model_config.json"):
        shutil.copyfile(donor / name, folder / name)
    return folder
