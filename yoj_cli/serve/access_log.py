"""What the server says of each request: one JSON object a line, on standard error."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any


class AccessLog:
    """Lines of JSON; no key is ever in one, and no text of a group but what `--log-prompts` asks for."""

    def write(
        self,
        scope: MutableMapping[str, Any],
        request_id: str,
        status: int,
        seconds: float,
        n_bytes: int,
        fields: dict[str, Any],
    ) -> None:
        """One request that has ended.

        Args:
            n_bytes: of the answer's body.
            fields: what the endpoint adds.
        """
        client = scope.get("client") or ("", 0)
        _print(
            {
                "time": _now(),
                "request_id": request_id,
                "client": client[0],
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "seconds": round(seconds, 4),
                "bytes_out": n_bytes,
                **fields,
            }
        )

    def error(self, request_id: str, error: BaseException) -> None:
        """An exception that nobody foresaw, with its traceback; its `repr` may show a whole text (Unicode's do)."""
        frames = "".join(traceback.format_exception(error))
        _print({"time": _now(), "request_id": request_id, "error": type(error).__name__, "traceback": frames})


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z"


def _print(line: dict[str, Any]) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # nobody listens
            sys.stderr.write(json.dumps(line) + "\n")
