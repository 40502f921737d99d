"""What a connection is told before there is a request for the application, and what the log says of that."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serving import Served, exchange, serving
from tests.waiting import wait_until
from yoj_cli import Judge


@pytest.fixture(scope="module")
def served(judges: Callable[..., Judge]) -> Iterator[Served]:
    judge = judges("demo")
    with serving(lambda: [judge]) as found:
        yield found


def read_problem(answer: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and document of a problem's answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert problem["status"] == int(first.split(" ")[1])
    assert problem["request_id"] == headers["x-request-id"] != ""
    assert headers["connection"] == "close"
    return problem["status"], headers, problem


def last_line(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last request in the log, which is written when its answer has been sent."""
    said = ""
    deadline = time.monotonic() + 5
    while not said.endswith("}\n") and time.monotonic() < deadline:
        time.sleep(0.02)
        said += capfd.readouterr().err
    return dict(json.loads(said.splitlines()[-1]))


HEADERS = b" HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: mine-1\r\n"


@pytest.mark.parametrize(
    ("head", "status", "says"),
    [
        (b"GET /" + b"x" * 60_000 + HEADERS + b"\r\n", 414, "the address of the request has more than 8,192"),
        (b"GET /health?a=" + b"x" * 8_192 + HEADERS + b"\r\n", 414, "has more than 8,192 bytes"),
        (b"GET /" + b"x" * 200_000, 414, "the address of the request has more than 8,192 bytes"),
        (b"GET /health" + HEADERS + b"X: " + b"x" * 40_000 + b"\r\n\r\n", 431, "more than 32,768 bytes"),
        (b"GET /health" + HEADERS + b"X: " + b"x" * 40_000, 431, "the headers of the request have more than"),
        (b"GET /health" + HEADERS + 9_000 * b"a: b\r\n" + b"\r\n", 431, "more than 32,768 bytes"),
    ],
)
def test_a_head_that_is_too_long_is_called_so(
    served: Served, head: bytes, status: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found, headers, problem = read_problem(exchange(served, head))
    assert (found, problem["type"]) == (status, "urn:problem-type:yoj:too-large")
    assert says in problem["detail"]
    line = last_line(capfd)
    assert (line["status"], line["request_id"]) == (status, headers["x-request-id"])


def test_an_address_of_8_kb_is_read(served: Served) -> None:
    path = "/" + "x" * 8_191
    assert served.http.get(path).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"POST /v1/groups HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_and_logged(
    served: Served, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    status, headers, problem = read_problem(exchange(served, sent))
    assert (status, problem["detail"][:8]) == (400, "no HTTP:")
    line = last_line(capfd)
    assert (line["status"], line["request_id"]) == (400, headers["x-request-id"])
    assert (line["client"], line["method"], line["path"]) == ("127.0.0.1", "", "")


def test_a_client_too_many_is_told_so_and_logged(
    judges: Callable[..., Judge], capfd: pytest.CaptureFixture[str]
) -> None:
    judge = judges("demo")
    with serving(lambda: [judge], max_connections=3) as served:
        held = [socket.create_connection((served.host, served.port)) for _ in range(2)]
        connections = served.server.server_state.connections
        wait_until(lambda: len(connections) == 3)  # with the one of the client that asked whether it is ready
        capfd.readouterr()
        status, headers, problem = read_problem(exchange(served))
        assert (status, problem["type"]) == (503, "urn:problem-type:yoj:queue-full")
        assert headers["retry-after"] == "2"
        line = last_line(capfd)
        assert (line["status"], line["request_id"]) == (503, headers["x-request-id"])
        assert (line["client"], line["method"], line["bytes_out"]) == (
            "127.0.0.1",
            "",
            len(json.dumps(problem)),
        )
        for connection in held:
            connection.close()
        wait_until(lambda: len(connections) == 1)
        assert served.http.get("/health").status_code == 200
        assert 'yoj_requests_total{path="other",status="503"} 1.0' in served.http.get("/metrics").text
