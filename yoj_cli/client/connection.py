"""The way to the server: one request at a time in each thread, tried again until it is answered or patience ends.

Scoring changes nothing on the server, so that a request may be sent twice. What was answered before a connection broke
is kept, and only the rest is asked for again, under the same request id.
"""

from __future__ import annotations

import json
import math
import random
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import httpx

from yoj_cli.client.answer import HINT_OTHER
from yoj_cli.client.authorities import CA_VARIABLE, trusted_authorities
from yoj_cli.errors import InputError, ServerError, UsageError
from yoj_cli.version import __version__

BUSY = (429, 502, 503, 504)
"""Statuses that say to come again: too much at once, and a server that loads its judge, ends, or is behind a proxy."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 15.0
"""Between two tries; doubled each time, unless the server says when (Retry-After)."""

CONNECT_TIMEOUT_S = 10.0
MAX_DOCUMENT_BYTES = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Connection:
    """A server's address with the key for it; may be used from several threads.

    Args:
        server: "http://127.0.0.1:8321".
        api_key: sent as a bearer token; None for none.
        patience_s: how long the server may be silent, or away, until that is an error.
        say: told, in words, when it is away and when it is back; from any thread.
    """

    def __init__(
        self, server: str, *, api_key: str | None, patience_s: float, say: Callable[[str], None]
    ) -> None:
        self.server = server
        self._patience_s = patience_s
        self._closed = threading.Event()
        self._was_there = self._is_away = False
        self._say = say
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        headers = {"User-Agent": f"yoj/{__version__}", "Accept-Encoding": "identity"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.Client(
            base_url=self.server,
            headers=headers,
            timeout=httpx.Timeout(patience_s, connect=min(CONNECT_TIMEOUT_S, patience_s)),
            verify=trusted_authorities() if self.server.startswith("https:") else False,  # it takes time
            trust_env=urlsplit(self.server).hostname not in LOOPBACK,  # no proxy leads back to this machine
        )

    def close(self) -> None:
        """Hang up; what is under way in other threads ends with a ServerError."""
        self._closed.set()
        with self._lock:
            opened = list(self._sockets)
        for each in opened:
            _hang_up(each)
        self._http.close()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def get(self, path: str) -> Any:
        """A JSON document.

        Raises:
            ServerError, UsageError: it cannot be had.
        """
        patience = self._begin()
        while True:
            try:
                with self._http.stream("GET", path, extensions={"trace": self._watch}) as response:
                    self._check(response)
                    content = _read(response)
                    return json.loads(content)
            except _TryAgainError as problem:
                patience.wait(problem)
            except httpx.TransportError as error:
                patience.wait(self._lost(error))
            except (ValueError, RecursionError) as error:
                raise ServerError("does not answer with JSON", where=self.server, hint=HINT_OTHER) from error

    def ask(
        self, lines: Sequence[bytes], *, model: str, before_retry: Callable[[], None] = lambda: None
    ) -> Generator[bytes, None, None]:
        """The answer to each line, in their order.

        Args:
            model: the judge that is meant.
            before_retry: called before anything is sent again; what it raises ends the request.
        Raises:
            TooLargeError: the server takes no request of this size; of what is left, where it came back with a
                smaller limit.
            ServerError, UsageError: no answer can be had.
        """
        request_id = uuid.uuid4().hex
        patience = self._begin()
        n_answered = 0
        while n_answered < len(lines):
            try:
                for answer in self._ask_once(lines[n_answered:], model, request_id):
                    n_answered += 1
                    patience.renew()
                    yield answer
                if n_answered < len(lines):
                    raise _TryAgainError("ended its answer before the last group")
            except _TryAgainError as problem:
                patience.wait(problem)
                before_retry()
            except httpx.TransportError as error:
                patience.wait(self._lost(error))
                before_retry()

    def _begin(self) -> _Patience:
        if self._closed.is_set():
            raise UsageError("the connection is closed", where=self.server, hint="Make another RemoteJudge.")
        return _Patience(self)

    def _ask_once(self, lines: Sequence[bytes], model: str, request_id: str) -> Iterator[bytes]:
        """As many answers as come before the connection breaks."""
        body = b"".join(line + b"\n" for line in lines)
        headers = {"Content-Type": "application/x-ndjson", "X-Request-ID": request_id}
        max_bytes = MAX_DOCUMENT_BYTES + 6 * max(map(len, lines))  # a group comes back, perhaps as \u1234
        with self._http.stream(
            "POST",
            "/v1/groups",
            content=body,
            params={"model": model},
            headers=headers,
            extensions={"trace": self._watch},
        ) as response:
            self._check(response)
            if not response.headers.get("content-type", "").startswith(
                ("application/x-ndjson", "application/jsonl")
            ):
                raise self._foreign(response)
            self._note(away=False, what="is back")
            for place, answer in enumerate(_split(response.iter_raw(), max_bytes)):
                if answer is None or place == len(lines):
                    raise ServerError("answers more than was asked", where=self.server, hint=HINT_OTHER)
                yield answer

    def _watch(self, event: str, info: dict[str, Any]) -> None:
        """Note the sockets that are opened, so that `close` ends also who waits for the first byte of an answer."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets.add(opened)
            if self._closed.is_set():
                _hang_up(opened)

    def _check(self, response: httpx.Response) -> None:
        """Nothing for an answer; else raise what its status says."""
        self._was_there = True
        status = response.status_code
        if status == 200:
            return
        problem = _problem(response)
        said, hint = _words(problem), str(problem.get("hint") or "")
        if status in BUSY:
            is_away = status != 429  # too many groups at once is how a busy server works
            raise _TryAgainError(said or f"answers {status}", _retry_after(response), is_away=is_away)
        if status in (401, 403):
            raise UsageError(
                f"the server refuses the key: {said}" if said else "the server wants a key, or another one",
                where=self.server,
                hint="Give it with --api-key-file FILE, or in YOJ_API_KEY.",
            )
        if not problem:
            raise self._foreign(response)
        if status == 409:
            raise UsageError(said, where=self.server, hint=hint)
        if status == 413:
            raise TooLargeError(
                InputError(f"the server refuses what is sent for this group: {said}", hint=hint)
            )
        raise ServerError(f"refused a request ({status}): {said}", where=self.server, hint=hint)

    def _note(self, *, away: bool, what: str) -> None:
        """Say that the server went, or came back, once for all threads."""
        with self._lock:
            changed, self._is_away = away != self._is_away, away
        if changed:
            self._say(f"{self.server}: {what}")

    def _foreign(self, response: httpx.Response) -> ServerError:
        kind = response.headers.get("content-type", "no content type")
        what = f"does not answer as yoj serve does ({response.status_code}, {kind[:60]})"
        return ServerError(what, where=self.server, hint=HINT_OTHER)

    def _lost(self, error: httpx.TransportError) -> _TryAgainError:
        if isinstance(error, httpx.ReadTimeout):
            return _TryAgainError(f"did not answer for {self._patience_s:g} s")
        said = re.sub(r" \(_ssl\.c:\d+\)", "", str(error))
        reason = said.partition("] ")[2] or said or type(error).__name__  # without [Errno 111]
        if not (self._was_there or self._closed.is_set()):
            what = f"cannot be reached ({reason})"
            raise ServerError(what, where=self.server, hint=self._hint_of(error)) from error
        is_gone = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
        return _TryAgainError(f"{'is gone' if is_gone else 'broke off'} ({reason})")

    def _hint_of(self, error: httpx.TransportError) -> str:
        """What to do where a server never answered."""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return (
                f"Name the file with the certificate of its authority in {CA_VARIABLE}, and call the server by a name "
                "that its own certificate has."
            )
        if "[SSL" in str(error):
            return "See whether the server has TLS; without, its address begins with http://."
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            return "Start one with `yoj serve`, or correct --server (YOJ_SERVER)."
        return "See whether it is `yoj serve`, and whether it has TLS; its address then begins with https://."


class TooLargeError(Exception):
    """The server takes no request of this size.

    Attributes:
        problem: what that means for a group that was sent alone.
    """

    def __init__(self, problem: InputError) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _TryAgainError(Exception):
    def __init__(self, what: str, wait_s: float | None = None, *, is_away: bool = True) -> None:
        super().__init__(what)
        self.wait_s, self.is_away = wait_s, is_away


class _Patience:
    """How long a request is tried again: until nothing was answered for so long."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.renew()

    def renew(self) -> None:
        self._until = time.monotonic() + self._connection._patience_s
        self._next_s = FIRST_WAIT_S

    def wait(self, problem: _TryAgainError) -> None:
        """Wait before the next try.

        Raises:
            ServerError: patience has ended, or the connection is closed.
        """
        if self._connection._closed.is_set():
            raise ServerError("the connection was closed", where=self._connection.server)
        wait_s = self._next_s if problem.wait_s is None else max(problem.wait_s, FIRST_WAIT_S)
        wait_s *= random.uniform(1, 1.25)  # or many clients that were sent away together come back together
        self._next_s = min(2 * self._next_s, LONGEST_WAIT_S)
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise ServerError(
                f"{problem}; tried for {self._connection._patience_s:g} s",
                where=self._connection.server,
                hint="See to the server and repeat the command; --resume goes on with a file of results.",
            )
        if problem.is_away:
            patience = f"trying again for {self._connection._patience_s:g} s"
            self._connection._note(away=True, what=f"{problem}; {patience}")
        if self._connection._closed.wait(min(wait_s, left_s)):
            raise ServerError("the connection was closed", where=self._connection.server)


def _hang_up(opened: socket.socket) -> None:
    """Unlike closing it, this also wakes a thread that waits in it."""
    with suppress(OSError):  # it has ended meanwhile
        opened.shutdown(socket.SHUT_RDWR)


def _split(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """Whole lines; None where one is longer than any answer, and an end without a line break is none."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *lines, last = bytes(rest).split(b"\n")
            yield from (line for line in lines if line.strip())
            rest = bytearray(last)
        if len(rest) > max_bytes:
            yield None


def _read(response: httpx.Response) -> bytes:
    """The body, as far as a document goes."""
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > MAX_DOCUMENT_BYTES:
            break
    return bytes(content)


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document (RFC 9457) of an error's answer; empty where there is none."""
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        found = json.loads(_read(response))
    except (ValueError, RecursionError, httpx.TransportError):
        return {}
    return found if isinstance(found, dict) and ("title" in found or "detail" in found) else {}


def _words(problem: dict[str, Any]) -> str:
    return str(problem.get("detail") or problem.get("title") or "")[:500]


def _retry_after(response: httpx.Response) -> float | None:
    with suppress(ValueError):
        seconds = float(response.headers.get("retry-after", ""))
        if math.isfinite(seconds):
            return min(max(seconds, 0.0), 60.0)
    return None
