"""Anthropic's dialogues: one text, "\\n\\nHuman: … \\n\\nAssistant: …", as turns."""

from __future__ import annotations

import re

SPEAKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ ]?")


def parse_dialogue(text: str) -> list[dict[str, str]]:
    """[{"role", "content"}]; [] where it does not begin with a speaker. One who speaks twice has one longer turn."""
    parts = SPEAKER.split(text)
    if parts[0].strip():
        return []
    turns: list[dict[str, str]] = []
    for speaker, said in zip(parts[1::2], parts[2::2], strict=True):
        role = "user" if speaker == "Human" else "assistant"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{said}"
        else:
            turns.append({"role": role, "content": said})
    return turns
