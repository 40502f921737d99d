"""Whose certificates a client takes."""

from __future__ import annotations

import os
import ssl

import httpx

from yoj_cli.errors import UsageError

CA_VARIABLE = "SSL_CERT_FILE"


def trusted_authorities() -> ssl.SSLContext:
    """The authorities of certifi, or those in the file that SSL_CERT_FILE names.

    Raises:
        UsageError: that file cannot be used.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # an SSLError is one
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(
            f"cannot be used ({reason})", where=f"{CA_VARIABLE} {os.environ.get(CA_VARIABLE, '')}".strip()
        ) from error
