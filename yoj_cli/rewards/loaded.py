"""The judges of this process, each loaded once, whoever asks."""

from __future__ import annotations

import os
import threading
from dataclasses import fields, replace

import torch

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.scoring.judge import Judge

_judges: dict[JudgeConfig, Judge] = {}
_lock = threading.Lock()


def loaded_judge(config: JudgeConfig) -> Judge:
    """The judge that these options describe.

    Args:
        config: or a subclass's; only the options of a judge count.
    Raises:
        YojError: it cannot be loaded.
    """
    config = _own(config)
    with _lock:
        if config not in _judges:
            _judges[config] = Judge.from_config(config)
        return _judges[config]


def close_judge(config: JudgeConfig) -> None:
    """Give its memory back; the next call loads it again."""
    with _lock:
        judge = _judges.pop(_own(config), None)
    if judge is not None:
        judge.close()


def _own(config: JudgeConfig) -> JudgeConfig:
    """The judge's options alone, with the device of this process."""
    plain = JudgeConfig(**{field.name: getattr(config, field.name) for field in fields(JudgeConfig)})
    return replace(plain.resolved(), device=own_device(config.device))


def own_device(device: str) -> str:
    """The GPU of this process where "auto" or "cuda" is asked for and there is one; else what was asked for.

    Launchers number the processes of a machine (LOCAL_RANK), and a trainer takes the GPU of that number only when it
    is made, which may be later.
    """
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    rank = os.environ.get("LOCAL_RANK", "")
    is_numbered = rank.isdigit() and int(rank) < torch.cuda.device_count()
    return f"cuda:{rank}" if is_numbered else f"cuda:{torch.cuda.current_device()}"
