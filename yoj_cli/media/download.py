"""Fetching one file from the network into memory, within limits of size and time and from public addresses alone.

No proxy is used, whatever the environment names: where a proxy connects to, nobody here can check.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping

import httpcore
import httpx

from yoj_cli.errors import MediaError, YojError
from yoj_cli.media.network import CheckedBackend, Deadline, Resolve, resolve_host, tls_context
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.stores import open_store

CHUNK_BYTES = 1 << 16
MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS: Mapping[bytes | str, bytes | str] = {
    "User-Agent": "yoj-cli",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
PLAIN = ("", "identity")
PACKED = ("gzip", "x-gzip", "deflate")
"""Encodings of a body that are undone here, a piece at a time, so that a bomb is noticed while it goes off."""
HINT = "Try again, or download it by other means and give the file."


def download(url: str, options: MediaOptions, *, resolve: Resolve = resolve_host) -> bytes:
    """The whole body that an address serves, redirects followed.

    Args:
        resolve: gives the addresses of a host.
    Raises:
        MediaError: no answer in time, an error status, too large, cut short, empty, sent off http(s), or not on the
            public network.
    """
    where = url if len(url) <= 200 else url[:200] + "…"
    deadline = Deadline(options.timeout_s)
    backend = CheckedBackend(deadline, allow_private=options.allow_private, resolve=resolve)
    try:
        with httpcore.ConnectionPool(ssl_context=tls_context(), network_backend=backend) as pool:
            return _follow(pool, url, options)
    except MediaError as error:
        raise error.at(where) from error.__cause__
    except (TimeoutError, httpcore.TimeoutException) as error:
        what = f"the download did not finish within {options.timeout_s:g} s"
        raise MediaError(what, where=where, hint=HINT) from error
    except (httpcore.ConnectError, OSError) as error:
        what = f"the address cannot be reached: {error}"
        raise MediaError(what, where=where, hint=HINT + _proxy_note()) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpx.InvalidURL, ValueError, zlib.error) as error:
        what = f"the download failed: {error or type(error).__name__}"
        raise MediaError(what, where=where, hint=HINT) from error


def _follow(pool: httpcore.ConnectionPool, address: str, options: MediaOptions) -> bytes:
    """What the last of some redirects serves."""
    url = _parse(address)
    for _ in range(MAX_REDIRECTS + 1):
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with pool.stream("GET", target, headers=HEADERS) as response:
            said = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            if response.status in REDIRECTS and "location" in said:
                url = _parse(str(url.join(said["location"])))
                continue
            if response.status != 200:
                reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
                raise MediaError(f"the server answered {response.status} {reason}".rstrip(), hint=HINT)
            return _read_body(response, said, options)
    raise MediaError(f"the server redirects more than {MAX_REDIRECTS} times", hint=HINT)


def _parse(address: str) -> httpx.URL:
    """An address of the web, with nothing in it that would be left out of the request without a word."""
    url = httpx.URL(address)
    if url.scheme not in ("http", "https"):
        raise MediaError(f"it redirects to {address[:100]}, which is not http or https", hint=HINT)
    if not url.host:
        raise MediaError("the address names no server", hint="Correct the address.")
    if url.port is not None and not 0 < url.port < 1 << 16:  # the system would take it modulo 65,536
        raise MediaError(f"the address has port {url.port}, and there is none", hint="Correct the address.")
    if url.userinfo:
        raise MediaError("the address holds a name and password, which are not sent", hint=HINT)
    return url


def _read_body(response: httpcore.Response, said: Mapping[str, str], options: MediaOptions) -> bytes:
    encoding = said.get("content-encoding", "").strip().lower()
    if encoding not in (*PLAIN, *PACKED):
        raise MediaError(f"the server sends it encoded ({encoding[:40]}), unasked", hint=HINT)
    promised = said.get("content-length", "")
    n_promised = int(promised) if promised.isdecimal() and len(promised) < 20 else None
    if n_promised is not None and n_promised > options.max_download_bytes:
        raise _too_large(options)
    body = bytearray()
    pieces = _counted(response, options)
    try:
        for piece in pieces if encoding in PLAIN else _unpack(pieces):
            body += piece
            if len(body) > options.max_download_bytes:
                raise _too_large(options)
    except httpcore.RemoteProtocolError as error:
        if n_promised is None:
            raise
        raise MediaError(
            f"the download was cut short: {len(body):,} of {n_promised:,} bytes", hint=HINT
        ) from error
    if not body:
        raise MediaError("the address serves an empty file", hint=HINT)
    return bytes(body)


def _counted(response: httpcore.Response, options: MediaOptions) -> Iterator[bytes]:
    """The body as it comes, each byte counted among those of all downloads."""
    for piece in response.iter_stream():
        options.count_download(len(piece))
        yield piece


def _unpack(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A body without its gzip or zlib encoding, in pieces of at most CHUNK_BYTES."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header
    for piece in pieces:
        rest = piece
        while rest:
            yield unpacker.decompress(rest, CHUNK_BYTES)
            rest = unpacker.unconsumed_tail
        if unpacker.unused_data:  # zlib would keep all of it
            raise MediaError("the download goes on after the end of its encoding", hint=HINT)
    if not unpacker.eof:
        raise MediaError("the download was cut short: its encoding has no end", hint=HINT)


def fetch_object(address: str, options: MediaOptions) -> bytes:
    """A whole object of a store (s3://…), by the library for such addresses, which knows who is asked.

    Raises:
        MediaError: it is not there, not here in time, empty or too large, or cannot be read.
    """
    where = address[:200]

    def read() -> bytes:
        with open_store(address) as file:
            return file.read(options.max_download_bytes + 1)

    try:
        body = Deadline(options.timeout_s).wait_for(read)
        options.count_download(len(body))
        if len(body) > options.max_download_bytes:
            raise _too_large(options)
    except TimeoutError as error:
        what = f"the download did not finish within {options.timeout_s:g} s"
        raise MediaError(what, where=where, hint=HINT) from error
    except YojError as error:
        raise MediaError(error.what, where=where, hint=error.hint) from error
    if not body:
        raise MediaError("the address serves an empty file", where=where, hint=HINT)
    return body


def _too_large(options: MediaOptions) -> MediaError:
    return MediaError(
        f"the file is larger than the limit of {options.max_download_bytes:,} bytes",
        hint="Raise it (--max-download-mb), or download the file first and make it smaller.",
    )


def _proxy_note() -> str:
    named = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    return f" ({named[0]} is set, and media are fetched without a proxy.)" if named else ""
