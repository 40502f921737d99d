"""Connections to servers that a stranger named: resolved once, checked, and made to the very address that was checked.

A line of a file may name a server that only this machine can reach: a database of the intranet, the metadata service of
a cloud. Names are no help, because their owner says where they lead and may say something else the next time. So every
connection, after each redirect too, asks the resolver once and goes to the address that it gave, if that is public.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, TypeVar

import httpcore

from yoj_cli.errors import MediaError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Found = TypeVar("Found")

METADATA = tuple(
    map(
        ipaddress.ip_address,
        (
            *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"),
            *("192.0.0.192", "168.63.129.16"),  # Oracle's and Azure's; the latter is a public address
        ),
    )
)
"""Where clouds hand a machine its credentials and settings; allowed to nobody."""
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for IPv4 ones (RFC 6052)."""


class Resolve(Protocol):
    """The addresses of a host, as text."""

    def __call__(self, host: str, port: int) -> Sequence[str]: ...


class Deadline:
    """The moment by which all is done."""

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Seconds left.

        Raises:
            TimeoutError: none.
        """
        left = self._end_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def wait_for(self, job: Callable[[], Found]) -> Found:
        """What a call returns that has no time limit of its own; a late one is left behind in its thread.

        Raises:
            TimeoutError: it is not done in time.
            what `job` raises.
        """
        found: list[Found] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                found.append(job())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True, name="yoj-network")
        thread.start()
        thread.join(self.left_s())
        if failed:
            raise failed[0]
        if not found:
            raise TimeoutError
        return found[0]


def resolve_host(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver gives for a name, or for an address however it is written."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def check_address(text: str, *, allow_private: bool) -> None:
    """Refuse an address that is not on the public network.

    Raises:
        MediaError: it is not, and is none of those that `allow_private` allows.
    """
    address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    kind = _kind(address)
    if kind == "public" or (allow_private and kind == "private"):
        return
    raise MediaError(
        f"the address leads to {address}, which is not on the public network",
        hint="A file could name what only this machine can reach."
        + (" For a server of your own: --allow-private-media." if kind == "private" else ""),
    )


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if any."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


def _kind(address: Address) -> str:
    """ "public", "private" (a server of one's own may be there: loopback and local networks), or "closed"."""
    site = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    if address in METADATA or address.is_multicast or address.is_link_local or address.is_unspecified or site:
        return "closed"
    if address.is_loopback:
        return "private"
    if address.is_reserved:
        return "closed"
    return "public" if address.is_global else "private"


class CheckedBackend(httpcore.NetworkBackend):
    """What httpcore connects by: to checked addresses alone, everything within one deadline."""

    def __init__(self, deadline: Deadline, *, allow_private: bool, resolve: Resolve = resolve_host) -> None:
        self._deadline, self._allow_private, self._resolve = deadline, allow_private, resolve
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            MediaError: one of them is not on the public network; who owns a name need not give the same twice.
        """
        addresses = list(dict.fromkeys(self._deadline.wait_for(lambda: self._resolve(host, port))))
        for address in addresses:
            check_address(address, allow_private=self._allow_private)
        failed: Exception = httpcore.ConnectError("it has no address")
        for address in addresses:
            try:
                stream = self._sockets.connect_tcp(
                    address, port, self._deadline.left_s(), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failed


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left_s())
        return _TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The system's trusted certificates, or those that SSL_CERT_FILE names."""
    return ssl.create_default_context()
