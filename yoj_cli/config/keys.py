"""API keys: where they come from, and what may be one. The same for a server and its clients."""

from __future__ import annotations

from pathlib import Path

from yoj_cli.errors import UsageError

KEY_VARIABLE = "YOJ_API_KEY"


def read_key_file(path: Path, where: str) -> tuple[str, ...]:
    """The keys of a file, one a line; lines that begin with # are for people.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"cannot be read ({reason})", where=where) from error
    return tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))


def is_sendable(key: str) -> bool:
    """Whether a key can stand in a header: visible ASCII characters, without spaces."""
    return bool(key) and all("!" <= sign <= "~" for sign in key)
