"""A judge for a program of our own, which may set how its process takes memory."""

from __future__ import annotations

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.model.allocator import PICTURES, give_back_large_blocks
from yoj_cli.scoring.judge import Judge


def load_judge(config: JudgeConfig) -> Judge:
    """As `Judge.from_config`; large blocks of memory go back to the system from then on."""
    give_back_large_blocks(PICTURES)
    return Judge.from_config(config)
