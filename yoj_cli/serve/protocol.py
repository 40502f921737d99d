"""Connections, of which none may be kept open by a client that neither asks nor listens."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from yoj_cli.serve.problems import MEDIA_TYPE, Problem

MAX_HEADER_BYTES = 32 << 10
HEADER_TIMEOUT_S = 10.0


class GuardedProtocol(H11Protocol):  # type: ignore[misc]
    """uvicorn's protocol with limits on how long a header may take, how long a body that nobody reads may take, how
    long an answer may stay unread, and how many connections there are. A body that is read has its limit there.
    """

    max_connections: int
    patience_s: float

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._awaited = ""
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(
                Problem(503, "queue-full", "too many clients are connected", hint="Try again later.")
            )
            return
        self._limit_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._limit_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._limit_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.patience_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]
        status = 431 if getattr(error, "error_status_hint", 400) == 431 else 400  # h11 has a 501 too
        detail = str(error) if isinstance(error, h11.RemoteProtocolError) else msg
        self._refuse(Problem(status, "too-large" if status == 431 else "bad-request", f"no HTTP: {detail}"))

    def _limit_reading(self) -> None:
        """Give the client time for what has to come from it next."""
        awaited = self._find_awaited()
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        if awaited:
            limit_s = HEADER_TIMEOUT_S if awaited == "header" else self.patience_s
            self._read_timer = self.loop.call_later(limit_s, self.transport.abort)

    def _find_awaited(self) -> str:
        """ "body": the rest of one whose request is answered; "header": the next one, from the first byte on that comes
        of it (at first: from the start); "" for neither.
        """
        if self.transport.is_closing():
            return ""
        if self.cycle is None:
            return "header"
        if not self.cycle.response_complete:
            return ""
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        return "header" if self.conn.trailing_data[0] else ""

    def _stop_timers(self) -> None:
        for timer in (self._read_timer, self._write_timer):
            if timer is not None:
                timer.cancel()

    def _refuse(self, problem: Problem) -> None:
        """Answer without an application, and hang up."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()  # another answer is under way
            return
        body = problem.body("")
        head = (
            f"HTTP/1.1 {problem.status} {problem.kind}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def protocol_class(max_connections: int, patience_s: float) -> Any:
    """The protocol with these limits."""
    return type(
        "GuardedProtocol", (GuardedProtocol,), {"max_connections": max_connections, "patience_s": patience_s}
    )
