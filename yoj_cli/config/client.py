"""A judge that a server keeps loaded, instead of one that is loaded here."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from yoj_cli.config.field import Options, option, positive
from yoj_cli.config.keys import KEY_VARIABLE, is_sendable, read_key_file
from yoj_cli.errors import UsageError

SERVER_VARIABLE = "YOJ_SERVER"
PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig(Options):
    """Which server scores, and how long it is waited for."""

    server: str | None = option(
        None,
        "Score with the judge of this server (`yoj serve`), such as http://127.0.0.1:8321, instead of loading one. "
        f"Default: ${SERVER_VARIABLE}; else none.",
        metavar="URL",
    )
    api_key_file: Path | None = option(
        None, f"A file with the key that the server wants. Default: ${KEY_VARIABLE}.", metavar="FILE"
    )
    server_patience: float = option(
        PATIENCE_S,
        "Give up when the server was silent or away for so long.",
        metavar="SECONDS",
        check=positive,
    )

    def check_together(self) -> None:
        if self.server:
            _check_address(self.server)

    def resolved(self) -> ClientConfig:
        """The same options with the server filled in from $YOJ_SERVER."""
        return replace(
            self, server=(self.server or os.environ.get(SERVER_VARIABLE) or "").rstrip("/") or None
        )

    def check_no_server(self, other: str) -> None:
        """Refuse a server beside an option that has no meaning with it.

        Raises:
            UsageError: there is one.
        """
        if self.server is not None:
            raise UsageError(
                f"contradicts {other}: what scores is the server",
                where="--server",
                hint=f"Unset {SERVER_VARIABLE}." if self.server == os.environ.get(SERVER_VARIABLE) else "",
            )

    def read_key(self) -> str | None:
        """The key for the server; None for none.

        Raises:
            UsageError: the file cannot be read, or does not hold one key.
        """
        if self.api_key_file is None:
            key = os.environ.get(KEY_VARIABLE)
            return check_key(key, f"${KEY_VARIABLE}") if key else None
        where = f"--api-key-file {self.api_key_file}"
        keys = read_key_file(self.api_key_file, where)
        if len(keys) != 1:
            raise UsageError(
                f"holds {len(keys)} keys", where=where, hint="Write the one of this client into a file."
            )
        return check_key(keys[0], where)


def check_key(key: str, where: str) -> str:
    """The key, which can stand in a header.

    Raises:
        UsageError: it cannot.
    """
    if not is_sendable(key):
        raise UsageError("a key is of visible ASCII characters, without spaces", where=where)
    return key


def _check_address(server: str) -> None:
    from urllib.parse import urlsplit

    hint = "It is like http://127.0.0.1:8321."
    try:
        parts = urlsplit(server)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"not a usable address: {error}", where="--server", hint=hint) from error
    if parts.username or parts.password:
        raise UsageError(
            "an address holds no password; a key comes from --api-key-file", where="--server", hint=hint
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"{server!r} is not the address of a server", where="--server", hint=hint)
