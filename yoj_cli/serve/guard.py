"""What every request passes: an id, the checks of who asks, one line in the log, and never a traceback outside."""

from __future__ import annotations

import hmac
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any

import anyio

from yoj_cli.errors import UnexpectedError
from yoj_cli.serve.problems import MEDIA_TYPE, Problem, problem_of
from yoj_cli.serve.protocol import MAX_ADDRESS_BYTES, MAX_HEADER_BYTES, address_too_long, headers_too_long
from yoj_cli.serve.service import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/", "/page/colours.css", "/page/page.css", "/page/page.js", "/health", "/ready")
"""Answered without a key: for those who look whether the server lives, and a page that holds nothing."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
HUNG_UP = 499
"""What the log says of a client that did not wait; nginx's number."""

LINGER_S, LINGER_BYTES = 2.0, 128 << 20
"""How long, and how much, the rest of a refused request's body is still read after the answer: a connection that is
closed with bytes unread is reset, and the client then often loses the answer with it (RFC 9112, 9.6)."""

BUG = problem_of(UnexpectedError("unexpected error", hint="The server's log says which."))


class Guard:
    """An ASGI application around another.

    Every request gets `state.request_id`, `state.client` (whose turn in the queue it takes), `state.log` (more fields
    of its line in the log) and `state.at_end`, an `AsyncExitStack` that is closed when the answer has been sent.
    """

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service, self._log = app, service, service.log
        config = service.config
        named = [name.strip().lower() for name in (config.allowed_host or "").split(",") if name.strip()]
        self._hosts = {*LOCAL_NAMES, config.host.lower(), *named} if config.is_loopback else None
        self._keys = [key.encode() for key in service.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(scope, receive, send)
        fields: dict[str, Any] = {}
        started = time.perf_counter()
        try:
            async with AsyncExitStack() as at_end:
                scope.setdefault("state", {}).update(
                    request_id=answer.request_id, log=fields, at_end=at_end, client=""
                )
                await self._answer(scope, answer)
        except Problem as problem:
            await answer.refuse(problem)
        except Exception as error:
            self._log.error(answer.request_id, error)
            await answer.refuse(BUG)
        finally:
            seconds = time.perf_counter() - started
            self._service.metrics.requests.labels(path_of(scope), answer.status).inc()
            self._service.metrics.seconds.labels(path_of(scope)).observe(seconds)
            self._log.write(scope, answer.request_id, answer.status, seconds, answer.n_bytes, fields)

    async def _answer(self, scope: Scope, answer: _Answer) -> None:
        _check_length(scope)
        self._check_host(answer.headers)
        number = self._check_key(scope, answer.headers)
        host = (scope.get("client") or ("",))[0]
        scope["state"]["client"] = str(host)
        if number is not None:
            scope["state"]["log"]["key"] = number
            scope["state"]["client"] += f" key {number}"
        if scope["method"] != "HEAD":
            await self._app(scope, answer.receive, answer.send)
            return
        asked = {**scope, "method": "GET"}  # uvicorn leaves the body out
        try:
            await self._app(asked, answer.receive, answer.send)
        finally:
            scope["route"] = asked.get("route")

    def _check_host(self, headers: dict[str, str]) -> None:
        """A page of the web whose name was made to mean this machine must not talk to it (DNS rebinding)."""
        if self._hosts is None:
            return
        host = headers.get("host", "").lower()
        name = host if host.endswith("]") else re.sub(r":\d*$", "", host)
        if name not in self._hosts:
            raise Problem(
                421,
                "wrong-host",
                f"the server is not called {name[:100]!r}",
                hint="Call it 127.0.0.1 or localhost, or start it with --allowed-host NAME.",
            )

    def _check_key(self, scope: Scope, headers: dict[str, str]) -> int | None:
        """Which key was sent, counted from 1; None where none is needed. Takes as long whichever is wrong."""
        if not self._keys:
            return None
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        given = sent.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if any(matches):
            return matches.index(True) + 1
        if scope["path"] in OPEN_PATHS:
            return None
        raise Problem(
            401,
            "no-key",
            "the key is wrong"
            if given
            else "Authorization holds no Bearer key"
            if sent or scheme
            else "no key was sent",
            hint="Send it as `Authorization: Bearer KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )


class _Answer:
    """What is sent back, counted and marked with the request's id."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_body_read, self._has_body = False, scope["method"] != "HEAD"
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = self.headers.get("x-request-id", "")
        self.request_id = given if re.fullmatch(r"[\w.:-]{1,128}", given, re.ASCII) else uuid.uuid4().hex
        self.status, self.n_bytes = HUNG_UP, 0
        self.is_begun = self.is_complete = False

    async def receive(self) -> MutableMapping[str, Any]:
        """The next part of the request."""
        message = await self._receive()
        self._is_body_read = not message.get("more_body", False)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass a part of the answer on; before its end the rest of the body is taken from the client."""
        if message["type"] == "http.response.start":
            self.status, self.is_begun = message["status"], True
            extra = {"X-Request-ID": self.request_id, "X-Content-Type-Options": "nosniff"}
            message["headers"] = [
                *message.get("headers", ()),
                *((name.lower().encode(), value.encode()) for name, value in extra.items()),
            ]
        else:
            self.n_bytes += len(message.get("body", b"")) * self._has_body
            self.is_complete = not message.get("more_body", False)
        if self.is_complete and not self._is_body_read:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drain(self) -> None:
        n_bytes = 0
        with anyio.move_on_after(LINGER_S):
            while not self._is_body_read and n_bytes < LINGER_BYTES:
                n_bytes += len((await self.receive()).get("body", b""))

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem; a client whose body was not read has no more to say on this connection."""
        if self.is_complete:  # a bug was answered where it was met, and has come up to here only to be logged
            return
        if self.is_begun:
            raise RuntimeError(
                "the answer had begun"
            )  # the connection is cut, so that nobody takes it for whole
        body = problem.body(self.request_id)
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **problem.all_headers()}
        raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})


def _check_length(scope: Scope) -> None:
    """Refuse a long head that came whole; one that is still coming is refused by the connection."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        raise address_too_long()
    if sum(len(b": \r\n") + len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        raise headers_too_long()


def path_of(scope: Scope) -> str:
    """The endpoint that was asked; "other" for what is none, of which there are any number."""
    route = scope.get("route")
    return str(getattr(route, "path", "other"))
