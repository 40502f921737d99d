"""Connections, of which none may be kept open by a client that neither asks nor listens."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from yoj_cli.serve.admission import RETRY_AFTER_S
from yoj_cli.serve.problems import MEDIA_TYPE, Problem

MAX_ADDRESS_BYTES, MAX_HEADER_BYTES = 8 << 10, 32 << 10
HEADER_TIMEOUT_S, GOODBYE_S = 10.0, 0.5

Note = Callable[[tuple[str, int] | None, str, int, int], None]
"""Told of an answer that no application gave: the client's address, the request's id, the status, bytes of the body."""


def address_too_long() -> Problem:
    """What is said of a path with its query."""
    what = f"the address of the request has more than {MAX_ADDRESS_BYTES:,} bytes"
    return Problem(414, "too-large", what, hint="Send what is long in the body.")


def headers_too_long() -> Problem:
    """What is said of all headers of a request together."""
    what = f"the headers of the request have more than {MAX_HEADER_BYTES:,} bytes"
    return Problem(431, "too-large", what, hint="Send fewer or shorter ones; cookies are not read.")


class GuardedProtocol(H11Protocol):  # type: ignore[misc]
    """uvicorn's protocol with limits on how long a header may take, how long a body that nobody reads may take, how
    long an answer may stay unread, and how many connections there are. A body that is read has its limit there.
    """

    max_connections: int
    patience_s: float
    note: Note

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._awaited = ""
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            what = "too many clients are connected"
            self._refuse(Problem(503, "queue-full", what, hint="Try again later.", headers=headers))
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

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():  # over TLS that waits for the client's goodbye
            self.loop.call_later(GOODBYE_S, self.transport.abort)

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
        is_head = self.cycle is None or self.cycle.response_complete
        if is_head and getattr(error, "error_status_hint", 400) == 431:  # h11 has a 501 too
            is_address = b"\n" not in self.conn.trailing_data[0]
            self._refuse(address_too_long() if is_address else headers_too_long())
            return
        detail = str(error) if isinstance(error, h11.RemoteProtocolError) else msg
        self._refuse(Problem(400, "bad-request", f"no HTTP: {detail}"))

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
        is_open = self.cycle is not None and not self.cycle.response_complete
        if is_open and self.cycle.response_started:
            self.transport.abort()  # another answer is under way
            return
        known = self.scope["state"].get("request_id") if is_open else None
        request_id = known or uuid.uuid4().hex
        body = problem.body(request_id)
        headers = {
            **problem.all_headers(),
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
        }
        lines = [f"HTTP/1.1 {problem.status} {problem.kind}", *map(": ".join, headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
        self.note(self.client, request_id, problem.status, len(body))


def protocol_class(max_connections: int, patience_s: float, note: Note) -> Any:
    """The protocol with these limits."""
    limits = {"max_connections": max_connections, "patience_s": patience_s, "note": staticmethod(note)}
    return type("GuardedProtocol", (GuardedProtocol,), limits)
