"""The event loop of the server."""

from __future__ import annotations

import asyncio
from typing import Any

from yoj_cli.serve.protocol import HEADER_TIMEOUT_S


class Loop(asyncio.SelectorEventLoop):
    """asyncio's, which gives a client's TLS handshake no more time than a header; uvicorn names no limit, and asyncio's
    is a minute, in which the connection is not counted yet.
    """

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = HEADER_TIMEOUT_S
        return await super().create_server(*args, **options)
