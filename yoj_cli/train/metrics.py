"""metrics.jsonl: a line for each training step, and one for each evaluation on held-out groups."""

from __future__ import annotations

import json
import math
from pathlib import Path

from yoj_cli.errors import InputError

METRICS = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines, each with its finite numbers only; a last line that was cut off is left out.

    Raises:
        InputError: the file cannot be read, or a line other than the last is no JSON object with a step.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            numbers = {
                key: value for key, value in json.loads(text).items() if isinstance(value, (int, float))
            }
            line = {key: value for key, value in numbers.items() if math.isfinite(value)}
            line["step"]
        except (ValueError, AttributeError, KeyError) as error:
            if number == len(texts):  # the run was killed, or writes it just now
                break
            raise InputError("is no line of metrics", where=f"{path}:{number}") from error
        lines.append(line)
    return lines
