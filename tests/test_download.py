"""Fetching from real servers on this machine, and from hosts whose addresses a resolver of ours makes up."""

from __future__ import annotations

import gzip
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from yoj_cli.errors import MediaError
from yoj_cli.media.download import download
from yoj_cli.media.network import tls_context
from yoj_cli.media.options import MediaOptions

TLS = Path(__file__).parent / "data" / "tls"
"""A certificate of our own making for pictures.example, and its key, which guards nothing."""

Answer = Callable[[socket.socket, str], None]


@pytest.fixture(autouse=True)
def this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a fault lets through, no test connects to another machine."""
    connect = socket.create_connection

    def connect_here(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        assert address[0] == "127.0.0.1"
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", connect_here)


@contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that takes a request's head and gives its connection to `answer`. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.settimeout(10)
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(4096) or b"\r\n\r\n"
                answer(connection, head.decode("latin-1"))
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def reply(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return lambda connection, _: connection.sendall("\r\n".join(lines).encode() + body)


def fetch(url: str, resolve: Callable[[str, int], Sequence[str]] | None = None, **limits: object) -> bytes:
    options = MediaOptions(**{"allow_remote": True, "allow_private": True, "timeout_s": 5.0, **limits})
    return download(url, options, **({} if resolve is None else {"resolve": resolve}))


def refusal(
    url: str, resolve: Callable[[str, int], Sequence[str]] | None = None, **limits: object
) -> MediaError:
    with pytest.raises(MediaError) as caught:
        fetch(url, resolve, **limits)
    assert caught.value.where
    return caught.value


LOCAL = [
    *(
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
    ),
    *("::1", "fc00::1", "fd12:3456::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("64:ff9b::10.0.0.1", "2002:a00:1::"),
]
"""Where a server of one's own may be; the last two stand for 10.0.0.1 by way of a gateway."""

CLOSED = [
    *("169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%1", "fd00:ec2::254", "100.100.100.200"),
    *("fd20:ce::254", "192.0.0.192", "168.63.129.16", "::ffff:168.63.129.16"),
    *("0.0.0.0", "::", "224.0.0.1", "224.0.1.1", "ff02::1", "240.0.0.1", "255.255.255.255", "fec0::1"),
    *("::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "::127.0.0.1"),
]


@pytest.mark.parametrize("address", LOCAL + CLOSED)
def test_what_is_not_public_is_refused_once_its_name_is_resolved(address: str) -> None:
    error = refusal("http://pictures.example/a.png", lambda host, port: [address], allow_private=False)
    assert "not on the public network" in error.what
    assert ("--allow-private-media" in error.hint) == (address in LOCAL)


@pytest.mark.parametrize("address", CLOSED)
def test_no_option_opens_the_way_to_a_clouds_credentials(address: str) -> None:
    error = refusal("http://pictures.example/a.png", lambda host, port: [address])
    assert "not on the public network" in error.what


def test_one_private_address_among_public_ones_is_enough() -> None:
    error = refusal("http://x.example/", lambda host, port: ["8.8.8.8", "10.0.0.1"], allow_private=False)
    assert "10.0.0.1" in error.what


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"]
)
def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    error = refusal(f"http://{host}:9/a.png", allow_private=False)
    assert "not on the public network" in error.what


def test_a_name_is_resolved_once_and_the_connection_made_to_the_address_that_was_checked() -> None:
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    heads: list[str] = []

    def answer(connection: socket.socket, head: str) -> None:
        heads.append(head)
        reply(b"picture")(connection, head)

    with serving(answer) as port:
        assert fetch(f"http://pictures.example:{port}/a%20b.png?x=1", resolve) == b"picture"
    assert asked == [("pictures.example", port)]
    assert f"\r\nHost: pictures.example:{port}\r\n" in heads[0]
    assert heads[0].startswith("GET /a%20b.png?x=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "target", ["http://metadata.example/latest/", "http://169.254.169.254/latest/", "//metadata.example/"]
)
def test_each_redirect_is_resolved_and_checked_again(target: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "pictures.example" else ["169.254.169.254"]

    with serving(reply(b"", f"Location: {target}", status="302 Found")) as port:
        assert "169.254.169.254" in refusal(f"http://pictures.example:{port}/", resolve).what


def test_redirects_come_to_an_end() -> None:
    with serving(reply(b"", "Location: /again", status="301 Moved")) as port:
        error = refusal(f"http://pictures.example:{port}/", lambda host, port: ["127.0.0.1"])
    assert "redirects more than 10 times" in error.what


def dribble(connection: socket.socket, text: bytes, pause_s: float = 0.05) -> None:
    for byte in text:
        connection.sendall(bytes([byte]))
        time.sleep(pause_s)


def slow_headers(link: socket.socket, _: str) -> None:
    dribble(link, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000)


def slow_interim_answers(link: socket.socket, _: str) -> None:
    dribble(link, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def slow_body(link: socket.socket, _: str) -> None:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    dribble(link, b"x" * 9999)


def slow_redirects(link: socket.socket, _: str) -> None:
    time.sleep(0.3)
    link.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")


def silence(link: socket.socket, _: str) -> None:
    time.sleep(5)


@pytest.mark.parametrize("answer", [slow_headers, slow_interim_answers, slow_body, slow_redirects, silence])
def test_one_deadline_ends_whatever_a_server_dribbles(answer: Answer) -> None:
    with serving(answer) as port:
        start = time.monotonic()
        error = refusal(f"http://127.0.0.1:{port}/", timeout_s=0.5)
    assert error.what == "the download did not finish within 0.5 s"
    assert time.monotonic() - start < 4


def test_the_deadline_ends_a_resolver_and_a_handshake_that_hang() -> None:
    start = time.monotonic()
    assert (
        "within 0.3 s" in refusal("http://x.example/", lambda h, p: time.sleep(5) or [], timeout_s=0.3).what
    )
    with serving(lambda link, _: time.sleep(5)) as port:
        assert "within 0.3 s" in refusal(f"https://127.0.0.1:{port}/", timeout_s=0.3).what
    assert time.monotonic() - start < 4


def test_a_bomb_is_counted_as_it_is_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 50_000
    with serving(reply(bomb, "Content-Encoding: gzip")) as port:
        error = refusal(f"http://127.0.0.1:{port}/", max_download_bytes=1_000_000)
    assert "larger than the limit of 1,000,000 bytes" in error.what
    assert "--max-download-mb" in error.hint


def test_a_body_comes_out_of_its_encoding_whole_or_not_at_all() -> None:
    body = bytes(range(256)) * 1000
    packed = gzip.compress(body)
    with serving(reply(packed, "Content-Encoding: gzip")) as port:
        assert fetch(f"http://127.0.0.1:{port}/") == body
    with serving(reply(packed[:-9], "Content-Encoding: gzip")) as port:
        assert "cut short" in refusal(f"http://127.0.0.1:{port}/").what
    with serving(reply(b"x", "Content-Encoding: br")) as port:
        assert "encoded (br)" in refusal(f"http://127.0.0.1:{port}/").what


def test_nothing_is_held_of_what_follows_the_end_of_an_encoding() -> None:
    """A second member is no part of a picture, and what has no end would fill memory."""
    sent: list[int] = []

    def endless(link: socket.socket, _: str) -> None:
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"picture"))
        while True:
            sent.append(link.send(bytes(1 << 16)))

    with serving(endless) as port:
        assert "goes on after the end" in refusal(f"http://127.0.0.1:{port}/").what
    assert sum(sent) < 64 << 20
    two = gzip.compress(b"one") + gzip.compress(b"two")
    with serving(reply(two, "Content-Encoding: gzip")) as port:
        assert "goes on after the end" in refusal(f"http://127.0.0.1:{port}/").what


def test_all_downloads_of_a_run_share_one_limit() -> None:
    options = MediaOptions(allow_remote=True, allow_private=True, max_total_download_bytes=250)
    with serving(reply(bytes(100))) as port:
        for _ in range(2):
            assert len(download(f"http://127.0.0.1:{port}/", options)) == 100
        with pytest.raises(MediaError, match="over the limit of 250 bytes"):
            download(f"http://127.0.0.1:{port}/", options)
    assert pickle.loads(pickle.dumps(options)) == options  # for another machine, where it counts anew


def test_a_certificate_is_that_of_the_name_and_not_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    tls_context.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    try:
        with serving(reply(b"picture"), context) as port:
            assert fetch(f"https://pictures.example:{port}/", lambda host, port: ["127.0.0.1"]) == b"picture"
            error = refusal(f"https://other.example:{port}/", lambda host, port: ["127.0.0.1"])
            assert "CERTIFICATE_VERIFY_FAILED" in error.what
    finally:
        tls_context.cache_clear()


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(reply(b"picture")) as port:
        assert fetch(f"http://127.0.0.1:{port}/") == b"picture"
    assert "is set, and media are fetched without a proxy" in refusal("http://127.0.0.1:9/").hint


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://user:secret@127.0.0.1/", "name and password"),
        ("http:///a.png", "names no server"),
        ("http://[::1", "the download failed"),
        ("http://127.0.0.1:65545/", "port 65545"),
        ("http://" + "a" * 300 + "/", "the download failed"),
    ],
)
def test_an_odd_address_is_an_error_of_its_medium(url: str, what: str) -> None:
    assert what in refusal(url).what


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        bytes(100),
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 300_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_an_error_of_its_medium(answer: bytes) -> None:
    with serving(lambda link, _: link.sendall(answer)) as port:
        assert refusal(f"http://127.0.0.1:{port}/").what.startswith(("the download failed", "the address"))
