"""data-card.json: what lies in a folder of training files, where it came from, and under which licence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoj_cli.errors import UsageError
from yoj_cli.storage.writing import write_whole

NAME = "data-card.json"


def check_card(folder: Path) -> None:
    """See that a card that is there is one.

    Raises:
        UsageError: it is something else.
    """
    _read(folder / NAME)


def write_card(output: Path, card: Mapping[str, Any]) -> Path:
    """Write what is said of one training file; what the card says of other files stays.

    Raises:
        UsageError: the file cannot be written, or is no card.
    """
    path = output.parent / NAME
    cards = {**_read(path), output.name: dict(card)}
    write_whole(path, json.dumps(cards, ensure_ascii=False, indent=2) + "\n")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"is no data card: {error}", where=str(path), hint="Move it away.") from error
    if not isinstance(found, dict):
        raise UsageError("is no data card", where=str(path), hint="Move it away.")
    return found
