"""Checkpoints that a stranger could hand in: each one a small good one with one thing changed."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ADAPTER, MERGED = "adapter", "merged"
Change = Callable[[Path], None]

SLOW_PATTERN = r"(([\w]+\.?)+)+-"
"""Has as many ways to match a layer's name as it has ways to be cut into pieces, and matches none."""


def edit(name: str, *keys: str, value: Any) -> Change:
    """Set one value of a JSON file, at the end of a path of keys."""

    def change(folder: Path) -> None:
        path = folder / name
        raw = json.loads(path.read_text())
        inner = raw
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
        path.write_text(json.dumps(raw))

    return change


def replace(name: str, make: Change) -> Change:
    """Put something else in a file's place."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def write(content: bytes) -> Change:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def sparse(n_bytes: int) -> Change:
    """A file of zeros that takes no room."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(n_bytes)

    return make


def link(target: str) -> Change:
    return lambda path: path.symlink_to(target)


def lora(change: Callable[[str, torch.Tensor], torch.Tensor]) -> Change:
    """Change the matrices of an adapter."""

    def rewrite(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file({key: change(key, weight) for key, weight in load_file(path).items()}, path)

    return rewrite


def head(state: Callable[[dict[str, torch.Tensor]], Mapping[str, torch.Tensor]]) -> Change:
    def rewrite(folder: Path) -> None:
        path = folder / "value_head.pt"
        torch.save(dict(state(torch.load(path, weights_only=True))), path)

    return rewrite


def packed_head(folder: Path) -> None:
    """A zip file whose 2 GB of zeros take 2 MB."""
    path = folder / "value_head.pt"
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, content in members.items():
            with new.open(name, "w", force_zip64=True) as file:
                if name.endswith("data/0"):
                    for _ in range(256):
                        file.write(bytes(1 << 20))
                else:
                    file.write(content)


def index(*names: str, make: Change | None = None) -> Change:
    """An index that names files for the weights."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        places = {f"weight.{number}": name for number, name in enumerate(names)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        if make is not None:
            make(folder / names[0])

    return change


def both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


CONFIG, LORA, REWARD, PROCESSOR = (
    *("config.json", "adapter_config.json", "reward_model_config.json", "processor_config.json"),
)
TOKENIZER = "tokenizer.json"
ADDED = {
    "content": "<|added|>",
    **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
    "special": True,
}
SHARD = "model-00002-of-00002.safetensors"
TEMPLATE = "chat_template.jinja"


def attacks() -> dict[str, tuple[str, Change, str]]:
    """By name: which kind of checkpoint, what is changed, and what the error must name."""
    found: dict[str, tuple[str, Change, str]] = {
        # What the configuration claims
        "hidden 12 M": (MERGED, edit(CONFIG, "text_config", "hidden_size", value=12_000_000), CONFIG),
        "vocabulary 12 M": (MERGED, edit(CONFIG, "text_config", "vocab_size", value=12_000_000), CONFIG),
        "vocabulary 1e12": (MERGED, edit(CONFIG, "text_config", "vocab_size", value=10**12), CONFIG),
        "vocabulary 1e15": (MERGED, edit(CONFIG, "text_config", "vocab_size", value=10**15), CONFIG),
        "layers 100,000": (MERGED, edit(CONFIG, "text_config", "num_hidden_layers", value=100_000), CONFIG),
        "layers 1e9": (MERGED, edit(CONFIG, "text_config", "num_hidden_layers", value=10**9), CONFIG),
        "tower 100,000": (MERGED, edit(CONFIG, "vision_config", "num_hidden_layers", value=100_000), CONFIG),
        "mlp 1e9": (MERGED, edit(CONFIG, "text_config", "intermediate_size", value=10**9), CONFIG),
        "patches 1e9": (
            MERGED,
            edit(CONFIG, "vision_config", "num_position_embeddings", value=10**9),
            CONFIG,
        ),
        "head 1e6": (MERGED, edit(REWARD, "value_head_hidden_dim", value=1 << 20), "value_head"),
        "crops 1,000,000": (
            MERGED,
            edit(PROCESSOR, "image_processor", "max_crops", value=10**6),
            "max_crops",
        ),
        "pictures 1e10": (
            MERGED,
            edit(PROCESSOR, "image_processor", "size", value={"height": 10**5, "width": 10**5}),
            "scales",
        ),
        "patch 0": (MERGED, edit(PROCESSOR, "image_processor", "patch_size", value=0), "patch_size"),
        "patch none": (MERGED, edit(PROCESSOR, "video_processor", "patch_size", value=[None]), "patch_size"),
        "pooling empty": (
            MERGED,
            edit(PROCESSOR, "image_processor", "pooling_size", value=[]),
            "pooling_size",
        ),
        "crops null": (
            MERGED,
            edit(PROCESSOR, "image_processor", "max_crops", value=None),
            "pictures and clips",
        ),
        "mean text": (
            MERGED,
            edit(PROCESSOR, "video_processor", "image_mean", value="x"),
            "pictures and clips",
        ),
        "mean NaN": (
            MERGED,
            edit(PROCESSOR, "image_processor", "image_mean", value=float("nan")),
            "no numbers",
        ),
        "size text": (MERGED, edit(PROCESSOR, "image_processor", "size", value="big"), ""),
        # Adapters
        "r 400,000": (ADAPTER, edit(LORA, "r", value=400_000), "adapter_model"),
        "r 400,000 by pattern": (
            ADAPTER,
            edit(LORA, "rank_pattern", value={"q_proj": 400_000}),
            "adapter_model",
        ),
        "A of 400,000 x 1": (
            ADAPTER,
            both(
                edit(LORA, "r", value=400_000),
                lora(lambda key, weight: torch.zeros(400_000, 1) if "lora_A" in key else weight),
            ),
            "adapter_model",
        ),
        "targets never end": (ADAPTER, edit(LORA, "target_modules", value=SLOW_PATTERN), LORA),
        "exclusions never end": (ADAPTER, edit(LORA, "exclude_modules", value=SLOW_PATTERN), LORA),
        "ranks never end": (ADAPTER, edit(LORA, "rank_pattern", value={SLOW_PATTERN: 4}), LORA),
        "layers never end": (
            ADAPTER,
            both(
                edit(LORA, "target_modules", value=["q_proj"]),
                edit(LORA, "layers_to_transform", value=[0]),
                edit(LORA, "layers_pattern", value=[SLOW_PATTERN]),
            ),
            LORA,
        ),
        "pattern of 1 MB": (ADAPTER, edit(LORA, "target_modules", value="a" * 1_000_000), LORA),
        "half a character": (ADAPTER, edit(REWARD, "separator", value="\ud800<|resp_sep|>"), "surrogate"),
        "base of 100,000 characters": (ADAPTER, edit(REWARD, "base_model", value="x" * 100_000), REWARD),
        # Heads
        "head packed": (MERGED, packed_head, "value_head.pt"),
        "head of views": (
            MERGED,
            both(
                edit(REWARD, "value_head_type", value="mlp"),
                edit(REWARD, "value_head_hidden_dim", value=1 << 20),
                head(
                    lambda state: {
                        "0.weight": torch.zeros(1, 1).expand(1 << 20, 64),
                        "0.bias": torch.zeros(1).expand(1 << 20),
                        "2.weight": torch.zeros(1, 1).expand(1, 1 << 20),
                        "2.bias": torch.zeros(1),
                    }
                ),
            ),
            "value_head.pt",
        ),
        "head sparse": (
            MERGED,
            head(lambda state: {key: weight.to_sparse() for key, weight in state.items()}),
            "value_head.pt",
        ),
        "head runs code": (MERGED, replace("value_head.pt", write(pickle.dumps(os.getcwd))), "value_head.pt"),
        # Files that are none
        "index beyond": (MERGED, index("../model.safetensors"), "index.json"),
        "index of an absolute path": (MERGED, index("/dev/zero"), "index.json"),
        "index of a pipe": (MERGED, index(SHARD, make=os.mkfifo), SHARD),
        "index of a device": (MERGED, index(SHARD, make=link("/dev/zero")), SHARD),
        "index of a folder": (MERGED, index(SHARD, make=Path.mkdir), SHARD),
        "index of nothing": (MERGED, index(SHARD), SHARD),
        "index of texts": (
            MERGED,
            replace("model.safetensors.index.json", write(b'{"weight_map": {"a": 1}}')),
            "index.json",
        ),
        "weights elsewhere": (
            MERGED,
            replace("model.safetensors", link("/etc/hostname")),
            "model.safetensors",
        ),
        # Templates
        "template loops": (
            MERGED,
            replace(
                TEMPLATE,
                write(b"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
            ),
            "template",
        ),
        "template of 10 GB": (MERGED, replace(TEMPLATE, write(b"{{ 'x' * 10**10 }}")), "template"),
        "template doubles": (
            MERGED,
            replace(
                TEMPLATE,
                write(
                    b"{% set n = namespace(s='x') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
                ),
            ),
            "template",
        ),
        # Tokenizers
        "normalizer of 1,000,000,000": (
            MERGED,
            edit(
                TOKENIZER,
                "normalizer",
                value={
                    "type": "Sequence",
                    "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}]
                    * 3,
                },
            ),
            TOKENIZER,
        ),
        "merges of no continuation": (
            MERGED,
            edit(TOKENIZER, "model", "continuing_subword_prefix", value="x"),
            TOKENIZER,
        ),
        "token 2**31": (MERGED, edit(TOKENIZER, "model", "vocab", "far", value=2**31), TOKENIZER),
        "dropout": (MERGED, edit(TOKENIZER, "model", "dropout", value=0.5), TOKENIZER),
        "vocab.json 2**31": (MERGED, replace("vocab.json", write(b'{"far": 2147483648}')), "vocab.json"),
        "token with another's id": (
            MERGED,
            edit(TOKENIZER, "added_tokens", value=[{**ADDED, "id": 2}]),
            TOKENIZER,
        ),
        "normalizer with a long entry": (
            MERGED,
            edit(
                "tokenizer.json",
                "normalizer",
                value={
                    "type": "Precompiled",
                    "precompiled_charsmap": base64.b64encode(
                        bytes([4, 0, 0, 0, 0, 0, 0, 0]) + b"a" * 100_000 + b"\0"
                    ).decode(),
                },
            ),
            "tokenizer.json",
        ),
        "template file of 100 MB": (MERGED, replace(TEMPLATE, sparse(100 << 20)), TEMPLATE),
    }
    every = (
        "config.json",
        TOKENIZER,
        "tokenizer_config.json",
        PROCESSOR,
        REWARD,
        TEMPLATE,
        "value_head.pt",
        "model.safetensors",
    )
    for name in every:
        found[f"{name} a pipe"] = (MERGED, replace(name, os.mkfifo), name)
        found[f"{name} a device"] = (MERGED, replace(name, link("/dev/zero")), name)
        found[f"{name} a circle"] = (MERGED, replace(name, link(name)), name)
        if not name.startswith(("value_head", "model.")):
            found[f"{name} of 10 GB"] = (MERGED, replace(name, sparse(10 << 30)), name)
        found[f"{name} of zeros"] = (MERGED, replace(name, write(bytes(1000))), name)
        found[f"{name} cut"] = (MERGED, lambda folder, name=name: _cut(folder / name), name)
        if name.endswith(".json"):
            found[f"{name} nested"] = (MERGED, replace(name, write(b"[" * 200_000)), name)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        found[f"{name} a pipe"] = (ADAPTER, replace(name, os.mkfifo), name)
        found[f"{name} of zeros"] = (ADAPTER, replace(name, write(bytes(1000))), name)
    return found


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make(name: str, adapter: Path, merged: Path, folder: Path) -> Path:
    """Copy the good checkpoint of an attack's kind, and change it."""
    kind, change, _ = attacks()[name]
    shutil.copytree(adapter if kind == ADAPTER else merged, folder)
    change(folder)
    return folder
