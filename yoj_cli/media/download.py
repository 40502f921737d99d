"""Fetching one file from the network into memory, within a size and a time limit."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import urlsplit

from yoj_cli.errors import MediaError, YojError
from yoj_cli.records.stores import open_store

CHUNK_BYTES = 1 << 16
HINT = "Try again, or download it by other means and give the file."


def download(url: str, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body.

    Raises:
        MediaError: no answer in time, an error status, too large, cut short, empty, or sent off http(s).
    """
    where = url if len(url) <= 200 else url[:200] + "…"
    deadline = time.monotonic() + timeout_s
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "yoj-cli"})
        with _opener().open(request, timeout=timeout_s) as response:
            promised = response.headers.get("Content-Length")
            n_promised = int(promised) if promised and promised.isdecimal() else None
            if n_promised is not None and n_promised > max_bytes:
                raise _too_large(where, max_bytes)
            body = bytearray()
            while chunk := response.read1(CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise _too_large(where, max_bytes)
                if time.monotonic() > deadline:
                    raise TimeoutError
    except urllib.error.HTTPError as error:
        error.close()
        raise MediaError(
            f"the server answered {error.code} {error.reason}", where=where, hint=HINT
        ) from error
    except TimeoutError as error:
        raise MediaError(
            f"the download did not finish within {timeout_s:g} s", where=where, hint=HINT
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise MediaError(
                f"the server did not answer within {timeout_s:g} s", where=where, hint=HINT
            ) from error
        raise MediaError(f"the address cannot be reached: {error.reason}", where=where, hint=HINT) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MediaError(
            f"the download failed: {error or type(error).__name__}", where=where, hint=HINT
        ) from error
    if n_promised is not None and len(body) < n_promised:
        raise MediaError(
            f"the download was cut short: {len(body):,} of {n_promised:,} bytes",
            where=where,
            hint=HINT,
        )
    if not body:
        raise MediaError("the address serves an empty file", where=where, hint=HINT)
    return bytes(body)


def fetch_object(address: str, *, max_bytes: int) -> bytes:
    """A whole object of a store (s3://…), by the library for such addresses and its own time limits.

    Raises:
        MediaError: it is not there, empty or too large, or cannot be read.
    """
    try:
        with open_store(address) as file:
            body = file.read(max_bytes + 1)
    except YojError as error:
        raise MediaError(error.what, where=address[:200], hint=error.hint) from error
    if len(body) > max_bytes:
        raise _too_large(address[:200], max_bytes)
    if not body:
        raise MediaError("the address serves an empty file", where=address[:200], hint=HINT)
    return body


def _too_large(where: str, max_bytes: int) -> MediaError:
    return MediaError(
        f"the file is larger than the limit of {max_bytes:,} bytes",
        where=where,
        hint="Download it first, and make it smaller.",
    )


def _opener() -> urllib.request.OpenerDirector:
    """urllib's opener without its ftp:, file: and data: handlers."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _WebRedirects,
    ):
        opener.add_handler(handler())
    return opener


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            fp.close()
            raise urllib.error.URLError(f"it redirects to {newurl[:100]}, which is not http or https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
