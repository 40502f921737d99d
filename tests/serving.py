"""A real server of this process, on a free port, for tests."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.processes import YOJ, environment
from yoj_cli import Judge
from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.serve import ServeConfig
from yoj_cli.serve.server import Server, open_listener
from yoj_cli.serve.service import Service


@dataclass
class Served:
    """A running server.

    Attributes:
        http: a client of it.
    """

    server: Server
    thread: threading.Thread
    host: str
    port: int
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"{self.service.config.scheme}://{self.host}:{self.port}"

    @property
    def service(self) -> Service:
        return self.server.service


@contextmanager
def serving(
    judges: Callable[[], Sequence[Judge]],
    *,
    media_root: Path | None = None,
    limits: Mapping[str, Any] | None = None,
    wait: bool = True,
    authority: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Iterator[Served]:
    """A server of these judges, ended at the end.

    Args:
        limits: of `InputConfig`.
        options: of `ServeConfig`.
        wait: until it is ready.
        authority: whose certificates the client takes.
        say: called with what a person is told.
    """
    config = ServeConfig(**{"port": 0, **options})
    service = Service(config, JudgeConfig(model="demo"), InputConfig(media_root=media_root, **(limits or {})))
    listener = open_listener(config)
    host, port = listener.getsockname()[:2]
    server = Server(service, judges, say=say)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    headers = {"Authorization": f"Bearer {service.keys[0]}"} if service.keys else {}
    verify = httpx.create_ssl_context() if authority is None else ssl.create_default_context(cafile=authority)
    base_url = f"{config.scheme}://{host}:{port}"
    with httpx.Client(base_url=base_url, headers=headers, timeout=30, verify=verify) as http:
        try:
            deadline = time.monotonic() + 120
            while wait and http.get("/ready").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield Served(server, thread, host, port, http)
        finally:
            http.close()  # of TLS connections that the server closes, asyncio waits for the client's goodbye
            server.stop()
            thread.join(timeout=30)
            assert not thread.is_alive()


def exchange(served: Served, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What the server sends back until it hangs up."""
    with socket.create_connection((served.host, served.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        found = b""
        try:
            while chunk := connection.recv(1 << 16):
                found += chunk
        except ConnectionResetError:
            pass
        return found


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command itself, and its address once it is ready."""
    command = [*YOJ, "serve", "-m", "demo", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        try:
            url = process.stderr.readline().partition(" ")[0]
            while "ready after" not in process.stderr.readline():
                assert process.poll() is None
            yield process, url
        finally:
            process.kill()
