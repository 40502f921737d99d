"""What the files of a checkpoint are called, and what stands for a value that they leave out."""

from __future__ import annotations

REWARD_CONFIG = "reward_model_config.json"
HEAD_SAFE = "value_head.safetensors"
HEAD_PICKLED = "value_head.pt"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

FORMAT_VERSION = 1

SEPARATOR_TOKEN = "<|resp_sep|>"
"""The special token between two responses, under its official name."""

DEFAULT_SEPARATOR = f"\n\n{SEPARATOR_TOKEN}\n\n"
