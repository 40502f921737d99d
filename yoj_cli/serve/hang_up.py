"""Clients that do not wait for their answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

Found = TypeVar("Found")


async def until_gone(request: Request, work: Coroutine[Any, Any, Found]) -> Found:
    """What the work gives, which is given up when the client hangs up.

    Args:
        request: its body has been read.
    Raises:
        ClientDisconnect: the client did.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_wait_for_end(request))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return await working
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _wait_for_end(request: Request) -> Any:
    while (await request.receive())["type"] != "http.disconnect":
        pass
