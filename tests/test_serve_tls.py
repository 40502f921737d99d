"""`yoj serve` over TLS, its clients, and the files that it takes for it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.serving import Served, serving
from tests.waiting import wait_until
from yoj_cli import Judge, RemoteJudge, ServerError, UsageError
from yoj_cli.config.serve import ServeConfig

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

KEY = "a-key-of-sixteen-signs"
ASK = ("rank", "-p", "2 + 2?", "-t", "4", "-t", "5")


@dataclass(frozen=True)
class Files:
    """Certificates and keys, in PEM.

    Attributes:
        certificate, key: of 127.0.0.1, issued by `authority`, as a private one does it.
        both: in one file.
        other_key: of nothing.
        locked_key: `key` with a password.
    """

    authority: Path
    certificate: Path
    key: Path
    both: Path
    other_key: Path
    locked_key: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    ca = ("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=A private authority")
    openssl("req", "-x509", *curve, *ca)
    openssl("req", *curve[:-2], "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=judge")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:judge.test\n", encoding="utf-8")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "1", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "request.pem", "-out", "cert.pem", *signed)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", "other.pem")
    openssl("pkey", "-in", "key.pem", "-aes256", "-passout", "pass:secret", "-out", "locked.pem")
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    names = ("ca.pem", "cert.pem", "key.pem", "both.pem", "other.pem", "locked.pem")
    return Files(*(folder / name for name in names))


@pytest.fixture(scope="module")
def served(judges: Callable[..., Judge], files: Files) -> Iterator[Served]:
    judge = judges("demo")
    tls = {"ssl_certfile": files.certificate, "ssl_keyfile": files.key}
    with serving(lambda: [judge], api_key=KEY, authority=files.authority, **tls) as found:
        yield found


def test_the_command_line_asks_over_tls(
    yoj: Run, served: Served, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the authority that SSL_CERT_FILE names, on this machine too, where no proxy is asked for."""
    assert served.url.startswith("https://")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    monkeypatch.setenv("YOJ_API_KEY", KEY)
    code, out, err = yoj(*ASK, "--server", served.url, "--json")
    assert code == 0
    assert "yoj:" not in err  # the log of the server is in it too
    assert '"best":' in out


def test_a_certificate_of_an_unknown_authority_is_refused_at_once(
    yoj: Run, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    started_at = time.monotonic()
    code, out, err = yoj(*ASK, "--server", served.url)
    assert (code, out) == (4, "")
    assert err.startswith(f"yoj: {served.url}: cannot be reached (certificate verify failed: ")
    assert "_ssl.c" not in err
    assert "Name the file with the certificate of its authority in SSL_CERT_FILE" in err
    assert time.monotonic() - started_at < 10


def test_a_name_that_the_certificate_does_not_have_is_refused(
    served: Served, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    with (
        RemoteJudge(f"https://localhost:{served.port}", api_key=KEY) as judge,
        pytest.raises(ServerError, match="Hostname mismatch"),
    ):
        judge.score(prompt="q", responses=["a", "b"])


@pytest.mark.parametrize("is_there", [False, True])
def test_authorities_that_cannot_be_used_are_wrong_usage(
    yoj: Run, files: Files, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.key if is_there else files.key.with_name("nope.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    code, out, err = yoj(*ASK, "--server", "https://127.0.0.1:1")
    assert (code, out) == (2, "")
    reason = "it holds no certificate in PEM" if is_there else "No such file or directory"
    assert f"SSL_CERT_FILE {path}: cannot be used ({reason})" in err


def test_http_where_the_server_has_tls_is_an_error_at_once(yoj: Run, served: Served) -> None:
    code, _, err = yoj(*ASK, "--server", f"http://127.0.0.1:{served.port}")
    assert code == 4
    assert "cannot be reached" in err
    assert "its address then begins with https://" in err


def test_https_where_the_server_has_none_is_an_error_at_once(yoj: Run, judges: Callable[..., Judge]) -> None:
    judge = judges("demo")
    with serving(lambda: [judge]) as plain:
        code, _, err = yoj(*ASK, "--server", f"https://127.0.0.1:{plain.port}")
    assert code == 4
    assert "without, its address begins with http://" in err


def test_old_versions_are_not_spoken(served: Served, files: Files) -> None:
    context = ssl.create_default_context(cafile=str(files.authority))
    with (
        socket.create_connection(("127.0.0.1", served.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as opened,
    ):
        assert opened.version() in ("TLSv1.2", "TLSv1.3")


def test_who_does_not_speak_tls_costs_nobody_else(served: Served) -> None:
    with socket.create_connection((served.host, served.port)) as silent:
        with socket.create_connection((served.host, served.port)) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP" not in plain.recv(100)
        assert served.http.get("/health").status_code == 200
        silent.close()


def test_a_handshake_that_does_not_come_is_given_up(
    judges: Callable[..., Judge], files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoj_cli.serve.loop.HEADER_TIMEOUT_S", 0.5)
    judge = judges("demo")
    with (
        serving(lambda: [judge], ssl_certfile=files.both, authority=files.authority) as served,
        socket.create_connection((served.host, served.port), timeout=30) as silent,
    ):
        assert silent.recv(1) == b""  # asyncio's own limit is 60 s
        assert served.http.get("/health").status_code == 200


def test_clients_that_say_nothing_do_not_hold_up_the_end(
    judges: Callable[..., Judge], files: Files, capfd: pytest.CaptureFixture[str]
) -> None:
    """Over TLS a connection that is closed waits for the client's goodbye; uvicorn waits for that, and complains."""
    judge = judges("demo")
    context = ssl.create_default_context(cafile=str(files.authority))
    with (
        serving(lambda: [judge], ssl_certfile=files.both, authority=files.authority) as served,
        socket.create_connection((served.host, served.port)) as plain,
        context.wrap_socket(plain, server_hostname=served.host) as opened,
    ):
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert opened.recv(100).startswith(b"HTTP/1.1 200")
        served.server.stop()
        served.thread.join(timeout=30)
    assert "graceful shutdown exceeded" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("nope.pem", "key.pem", "--ssl-certfile {}/nope.pem: cannot be read (No such file or directory)"),
        ("cert.pem", "nope.pem", "--ssl-keyfile {}/nope.pem: cannot be read (No such file or directory)"),
        ("key.pem", "key.pem", "--ssl-certfile {}/key.pem: holds no certificate in PEM"),
        ("names", "key.pem", "--ssl-certfile {}/names: holds no certificate in PEM"),
        ("cert.pem", "cert.pem", "--ssl-keyfile {}/cert.pem: holds no private key in PEM"),
        ("cert.pem", None, "--ssl-certfile {}/cert.pem: holds no private key in PEM"),
        ("cert.pem", "other.pem", "--ssl-keyfile {}/other.pem: the key is not that of the certificate"),
        ("cert.pem", "locked.pem", "--ssl-keyfile {}/locked.pem: the private key has a password"),
        (None, "key.pem", "--ssl-keyfile: needs --ssl-certfile"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    yoj: Run, files: Files, certificate: str | None, key: str | None, says: str
) -> None:
    folder = files.key.parent
    options = [("--ssl-certfile", certificate), ("--ssl-keyfile", key)]
    arguments = [part for name, file in options if file for part in (name, str(folder / file))]
    code, out, err = yoj("serve", "-m", "demo", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"yoj: {says.format(folder)}")


def test_one_file_may_hold_both(files: Files) -> None:
    ServeConfig(ssl_certfile=files.both).check_certificate()
    with pytest.raises(UsageError, match="needs --ssl-certfile"):
        ServeConfig(ssl_keyfile=files.key)


@pytest.mark.parametrize(
    ("host", "is_encrypted", "is_warned"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],
)
def test_keys_that_would_go_in_the_clear_are_warned_of_once(
    judges: Callable[..., Judge], files: Files, host: str, is_encrypted: bool, is_warned: bool
) -> None:
    judge = judges("demo")
    said: list[str] = []
    tls = {"ssl_certfile": files.both, "authority": files.authority} if is_encrypted else {}
    with serving(lambda: [judge], host=host, api_key=KEY, wait=False, say=said.append, **tls):
        wait_until(lambda: any("ready after" in line for line in said))  # at first nothing has been said
    assert said[0].startswith(f"{'https' if is_encrypted else 'http'}://{host}:")
    assert "\n".join(said).count("without TLS keys and prompts travel in the clear") == is_warned
