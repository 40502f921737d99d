"""What a run is, as its manifest says it; and what of that a later part of the run takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.run.manifest import Manifest


def settings_of(
    description: Mapping[str, Any], content: str, max_tokens: int, max_batch_tokens: int
) -> dict[str, Any]:
    """All of a judge that decides about a line, as resolved.

    Args:
        description: `Judge.description`; of its device the kind counts, since the number is a matter of the day.
        content: `content_hash` of its files.
        max_tokens: groups longer than this are refused.
        max_batch_tokens: decides which groups share a pass, and with it the last digits of their scores.
    """
    kind = str(description["device"]).partition(":")[0]
    limits = {"max_tokens": max_tokens, "max_batch_tokens": max_batch_tokens}
    return {**description, "device": kind, "content": content, **limits}


def take_over(config: JudgeConfig, earlier: Manifest) -> JudgeConfig:
    """The options with what they leave to the machine as the run has it, so that another machine decides the same."""
    judge = earlier.judge
    return replace(
        config,
        device=judge["device"] if config.device == "auto" else config.device,
        quant=judge["quant"] if config.quant == "auto" else config.quant,
        dtype=judge["dtype"] if config.dtype == "auto" else config.dtype,
    )
