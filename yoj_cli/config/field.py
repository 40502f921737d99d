"""How an option is declared: a dataclass field with its help text and flags."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from yoj_cli.errors import UsageError


def option(default: Any, help_text: str, *flags: str, metavar: str | None = None) -> Any:
    """A dataclass field that is also a command-line option; without `flags` it is `--field-name`."""
    return field(default=default, metadata={"help": help_text, "flags": flags, "metavar": metavar})


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"{seed} is not in 0 … {2**32 - 1}, which NumPy and torch take", where="--seed")
