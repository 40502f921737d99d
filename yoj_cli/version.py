"""The one place that knows the version, and those of the libraries that a score depends on."""

from __future__ import annotations

from collections.abc import Sequence

__version__ = "0.1.0"

SCORING = (
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "peft",
    "bitsandbytes",
    "pillow",
    "decord",
    "av",
)
"""Model and head, tokens, pictures, clips."""


def installed(names: Sequence[str] = SCORING) -> dict[str, str | None]:
    """Versions by the packages' names; None where one is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # 50 ms, which `yoj --help` does without

    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
