"""File names of models and checkpoints, and defaults of what a checkpoint leaves out."""

from __future__ import annotations

MODEL_CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (
    *(TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json"),
    *(VOCABULARY, "merges.txt", "vocab.txt", "tokenizer.model"),
)
PROCESSOR_CONFIG = "processor_config.json"
IMAGE_PROCESSOR_CONFIG = "preprocessor_config.json"
VIDEO_PROCESSOR_CONFIG = "video_preprocessor_config.json"
PROCESSOR_CONFIGS = (PROCESSOR_CONFIG, IMAGE_PROCESSOR_CONFIG, VIDEO_PROCESSOR_CONFIG)
CHAT_TEMPLATE = "chat_template.jinja"
PROCESSOR_FILES = (*TOKENIZER_FILES, CHAT_TEMPLATE, "chat_template.json", *PROCESSOR_CONFIGS)

REWARD_CONFIG = "reward_model_config.json"
HEAD_SAFE = "value_head.safetensors"
HEAD_PICKLED = "value_head.pt"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADDED_ROWS = "separator.safetensors"
"""Rows that the judge adds to its base's input embedding, (K, H), under the name ADDED_ROWS_KEY."""
ADDED_ROWS_KEY = "embedding_rows"

FORMAT_VERSION = 1

SEPARATOR_TOKEN = "<|resp_sep|>"
"""The special token between two responses, under its official name."""

DEFAULT_SEPARATOR = f"\n\n{SEPARATOR_TOKEN}\n\n"
