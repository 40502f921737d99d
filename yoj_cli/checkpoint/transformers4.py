"""A merged model's small files in a form that both transformers 4 and 5 read: the released code is pinned to 4.57.3.

transformers 5 writes tokenizer classes, special tokens, processors and rotary settings in forms of its own, but also
reads the earlier forms. So a merged model gets those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yoj_cli.storage.files import read_json, write_json
from yoj_cli.storage.names import (
    IMAGE_PROCESSOR_CONFIG,
    PROCESSOR_CONFIG,
    TOKENIZER_CONFIG,
    VIDEO_PROCESSOR_CONFIG,
)

NESTED = {
    "image_processor": IMAGE_PROCESSOR_CONFIG,
    "video_processor": VIDEO_PROCESSOR_CONFIG,
}
"""What transformers 5 keeps inside processor_config.json, and 4 in files of their own."""

FIVE_ONLY = ("backend", "is_local", "local_files_only", "model_specific_special_tokens")


def write_tokenizer_for_4(folder: Path) -> None:
    """Name a class that both have, and special tokens in the form that both read.

    `TokenizersBackend` is transformers 5's name of `PreTrainedTokenizerFast`: tokenizer.json as it stands.
    """
    path = folder / TOKENIZER_CONFIG
    if not path.is_file():
        return
    content = read_json(path)
    if content.get("tokenizer_class") == "TokenizersBackend":
        content["tokenizer_class"] = "PreTrainedTokenizerFast"
    extra = content.get("extra_special_tokens")
    if isinstance(extra, list):
        content["additional_special_tokens"] = extra
        content["extra_special_tokens"] = content.get("model_specific_special_tokens") or {}
    write_json(path, {key: value for key, value in content.items() if key not in FIVE_ONLY})


def write_processor_for_4(folder: Path) -> None:
    """Give the processors inside processor_config.json files of their own; 4 would take the inner ones as they stand.

    What such a file says already (whose code reads it, say) stays where the inner one says nothing.
    """
    path = folder / PROCESSOR_CONFIG
    if not path.is_file():
        return
    content = read_json(path)
    inner = {key: content.pop(key) for key in NESTED if isinstance(content.get(key), dict)}
    if not inner:
        return
    for key, settings in inner.items():
        own = folder / NESTED[key]
        before = read_json(own) if own.is_file() else {}
        named = {"processor_class": content["processor_class"]} if "processor_class" in content else {}
        write_json(own, before | settings | named)
    write_json(path, content)


def with_rotary_for_4(config: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration with its rotary settings in the earlier form, beside the later one."""
    config = {
        key: with_rotary_for_4(value) if isinstance(value, dict) else value for key, value in config.items()
    }
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and isinstance(rope.get("rope_theta"), (int, float)):
        config.setdefault("rope_theta", rope["rope_theta"])
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        plain = scaling.get("rope_type") == "default" and len(scaling) == 1
        config.setdefault("rope_scaling", None if plain else scaling)
    return config
