"""The certificate of a server, seen to before anything is loaded; a library would ask the terminal for a password."""

from __future__ import annotations

from pathlib import Path

from yoj_cli.errors import UsageError

CERTIFICATE, KEY = "--ssl-certfile", "--ssl-keyfile"
TOO_WEAK = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")
HINT_PEM = "A PEM file has lines such as -----BEGIN {}-----; `openssl` converts other kinds."


def check_certificate(certificate: Path, key: Path | None) -> None:
    """See that both files can be used, and belong together.

    Args:
        certificate: PEM, with those of its authorities behind it.
        key: PEM; None where the certificate's file holds it.
    Raises:
        UsageError: naming the file that is wrong.
    """
    import ssl

    where = f"{CERTIFICATE} {certificate}"
    where_key = where if key is None else f"{KEY} {key}"
    _see(certificate, where)
    if key is not None:
        _see(key, where_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise UsageError(
            "holds no certificate in PEM", where=where, hint=HINT_PEM.format("CERTIFICATE")
        ) from error

    def refuse_to_ask() -> str:
        hint = "Take it off (`openssl pkey -in FILE -out NEW`) and let nobody else read the file."
        raise UsageError("the private key has a password", where=where_key, hint=hint)

    try:
        context.load_cert_chain(certificate, key, refuse_to_ask)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if reason.endswith("_MISMATCH"):
            raise UsageError("the key is not that of the certificate", where=where_key) from error
        if reason in TOO_WEAK:
            raise UsageError(f"OpenSSL refuses it as too weak ({reason})", where=where) from error
        raise UsageError(
            "holds no private key in PEM", where=where_key, hint=HINT_PEM.format("PRIVATE KEY")
        ) from error


def _see(path: Path, where: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror or error})", where=where) from error
