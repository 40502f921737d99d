"""Who may ask a server, and how much: keys, names, sizes, slow clients, and what an answer never tells."""

from __future__ import annotations

import base64
import errno
import gzip
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.gated_judge import GatedJudge
from tests.serving import Served, exchange, serving
from tests.waiting import wait_until
from yoj_cli import Judge
from yoj_cli.config.serve import ServeConfig
from yoj_cli.errors import UsageError
from yoj_cli.serve import protocol

EXAMPLES = Path(__file__).parents[1] / "examples"
GROUP = {"prompt": "2 + 2?", "responses": ["4", "5"]}
KEY, OTHER = "a-key-of-sixteen-signs", "another-key-of-a-client"
LIMITS = {"max_responses": 3, "max_media": 2, "max_picture_mp": 0.01}


@pytest.fixture(scope="module")
def judge(judges: Callable[..., Judge]) -> Judge:
    return judges("demo")


@pytest.fixture(scope="module")
def small(judge: Judge) -> Iterator[Served]:
    """A server that takes little."""
    with serving(lambda: [judge], max_body_mb=0.05, limits=LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def rooted(judge: Judge) -> Iterator[Served]:
    """A server that reads files of the examples."""
    with serving(lambda: [judge], media_root=EXAMPLES) as found:
        yield found


def picture_url(width: int, height: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


HEAD = b"POST /v1/groups HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("path", ["/v1/groups", "/v1/models", "/metrics", "/openapi.json", "/nope"])
def test_without_the_key_nothing_is_told(keyed: Served, path: str) -> None:
    for sent, says in (
        (None, "no key was sent"),
        ("Bearer wrong", "the key is wrong"),
        (f"Basic {KEY}", "Authorization holds no Bearer key"),
        (KEY, "Authorization holds no Bearer key"),
    ):
        headers = {} if sent is None else {"authorization": sent}
        answer = httpx.request("POST" if "groups" in path else "GET", keyed.url + path, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (401, says)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEY not in answer.text


@pytest.fixture(scope="module")
def keyed(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# clients\n{KEY}\n\n{OTHER}\n", encoding="utf-8")
    with serving(lambda: [judge], api_key_file=file) as found:
        yield found


def test_each_key_is_a_client_and_none_is_logged(keyed: Served, capfd: pytest.CaptureFixture[str]) -> None:
    for key in (KEY, OTHER):
        headers = {"authorization": f"bearer {key}"}
        assert httpx.post(f"{keyed.url}/v1/groups", json=GROUP, headers=headers).status_code == 200
    said = ""

    def has_both() -> bool:
        """A line is written when its answer has been sent."""
        nonlocal said
        said += capfd.readouterr().err
        return said.count("\n") == 2

    wait_until(has_both)
    assert [json.loads(line)["key"] for line in said.splitlines()] == [1, 2]
    assert KEY not in said
    assert OTHER not in said


def test_whoever_looks_after_the_server_needs_no_key(keyed: Served) -> None:
    assert httpx.get(f"{keyed.url}/health").status_code == httpx.get(f"{keyed.url}/ready").status_code == 200


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": "0.0.0.0"}, "can be reached from other machines and needs a key"),
        ({"host": "::"}, "needs a key"),
        ({"host": "judge.example"}, "needs a key"),
        ({"api_key": "short"}, "key 1 is no 16 or more visible ASCII characters"),
        ({"api_key": "0123456789 abcdef"}, "key 1 is no 16 or more"),
        ({"api_key_file": Path("nope")}, "cannot be read (No such file or directory)"),
    ],
)
def test_a_server_that_others_reach_has_a_key_that_cannot_be_guessed(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(").replace(")", r"\)")):
        ServeConfig(**options).read_keys()


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOJ_API_KEY", KEY)
    assert ServeConfig(host="0.0.0.0").read_keys() == (KEY,)
    assert ServeConfig(api_key=OTHER).read_keys() == (OTHER,)
    monkeypatch.delenv("YOJ_API_KEY")
    assert ServeConfig(host="127.0.0.2").read_keys() == ServeConfig(host="[::1]").read_keys() == ()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:8321", 200), ("127.0.0.1:1", 200), ("[::1]:80", 200), ("judge.test", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example:80", 421), ("", 421),
    ],
)  # fmt: skip
def test_a_page_whose_name_leads_here_is_refused(judge: Judge, host: str, status: int) -> None:
    with serving(lambda: [judge], allowed_host="judge.test, other.test") as served:
        assert served.http.get("/health", headers={"host": host}).status_code == status


def test_no_answer_allows_other_pages_to_read_it(small: Served) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = small.http.options("/v1/groups", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_is_refused_before_it_is_read(small: Served, is_chunked: bool) -> None:
    def chunks() -> Iterator[bytes]:
        while True:
            yield b"x" * 8192

    kind = {"content-type": "application/json"}
    if is_chunked:
        sent = b"%x\r\n" % 60_000 + b"x" * 60_000 + b"\r\n"
        text = exchange(small, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", sent)
        assert text.startswith(b"HTTP/1.1 413")
        return
    answer = small.http.post("/v1/groups", content=b"x" * 60_000, headers=kind)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert "more than 52,428 bytes" in answer.json()["detail"]
    assert exchange(small, HEAD + b"Content-Length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"\n" * 20_000, "application/x-ndjson", "20,000 lines, more than 1,536"),
        (b"{}\n" * 15_000, "application/x-ndjson", "15,000 lines, more than 1,536"),
        (b"[" + b"{}," * 9_999 + b"{}]", "application/json", "10,000 groups, more than 1,536"),
    ],
)
def test_records_without_number_are_refused_before_each_is_an_object(
    small: Served, body: bytes, kind: str, says: str
) -> None:
    answer = small.http.post("/v1/groups", content=body, headers={"content-type": kind})
    assert answer.status_code == 413
    assert says in answer.json()["detail"]


def test_a_packed_body_is_refused(small: Served) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = small.http.post("/v1/groups", content=gzip.compress(json.dumps(GROUP).encode()), headers=headers)
    assert answer.status_code == 415
    assert "without Content-Encoding" in answer.json()["hint"]


@pytest.mark.parametrize(
    ("group", "status", "says"),
    [
        ({"prompt": "a", "responses": ["a"] * 4}, 422, "the group has 4 responses, over the limit of 3"),
        ({"images": [picture_url(8, 8)] * 3, "responses": ["a"]}, 422, "3 pictures and clips"),
        ({"image": picture_url(200, 200), "responses": ["a"]}, 422, "200 x 200"),
        ({"image": "https://example.com/a.png", "responses": ["a"]}, 422, "is not fetched unless"),
        ({"image": "s3://bucket/a.png", "responses": ["a"]}, 422, "object stores are not read"),
        ({"image": "a.png", "responses": ["a"]}, 422, "files of the server are not read"),
        ({"image": "file:///etc/passwd", "responses": ["a"]}, 422, "files of the server are not read"),
        ({"video": {"frames": "/etc"}, "responses": ["a"]}, 422, "files of the server are not read"),
        ({"prompt": "a " * 25_000, "responses": ["a"]}, 413, "tokens"),
    ],
)
def test_what_a_group_may_not_hold(small: Served, group: Any, status: int, says: str) -> None:
    answer = small.http.post("/v1/groups", json=group)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("pictures/nope.png", "there is no such file"),
        ("../pyproject.toml", "leads outside the media root"),
        ("/etc/passwd", "leads outside the media root"),
        ("candidates.jsonl", "not a picture"),
    ],
)
def test_an_answer_names_no_place_of_the_server(rooted: Served, image: str, says: str) -> None:
    answer = rooted.http.post("/v1/groups", json={"image": image, "responses": ["a"]})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert str(EXAMPLES) not in answer.text
    right = rooted.http.post("/v1/groups", json={"image": "pictures/scene-1.png", "responses": ["a", "b"]})
    assert right.status_code == 200


def test_frames_of_a_folder_are_named_without_it(rooted: Served) -> None:
    answer = rooted.http.post("/v1/groups", json={"video": {"frames": "answers"}, "responses": ["a"]})
    assert answer.status_code == 422
    assert "…/answers/" in answer.json()["detail"]
    assert str(EXAMPLES) not in answer.text


def test_a_bug_is_told_in_the_log_alone(judge: Judge, capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(GatedJudge):
        def prepare(self, *_: Any) -> Any:
            raise RuntimeError("/home/owner/secret.py broke")

    with serving(lambda: [Broken(judge)]) as served:
        answer = served.http.post("/v1/groups", json=GROUP)
    assert answer.status_code == 500
    assert answer.json()["detail"] == "unexpected RuntimeError: … broke"
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "traceback" in line]
    assert "/home/owner/secret.py broke" in logged[0]["traceback"]
    assert logged[0]["request_id"] == answer.headers["x-request-id"]


def test_an_answer_names_no_place_of_an_error_of_the_system(judge: Judge) -> None:
    class Broken(GatedJudge):
        def prepare(self, *_: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files", "/home/owner/secret.json")

    with serving(lambda: [Broken(judge)]) as served:
        answer = served.http.post("/v1/groups", json=GROUP)
    assert "Too many open files" in answer.json()["detail"]
    assert "owner" not in answer.text


def test_a_bug_that_holds_a_text_is_logged_without_it(
    judge: Judge, capfd: pytest.CaptureFixture[str]
) -> None:
    """Some exceptions show what they were given in their repr alone."""

    class Broken(GatedJudge):
        def prepare(self, *_: Any) -> Any:
            " ".join(["a", "secret", "\ud83d"]).encode()

    with serving(lambda: [Broken(judge)]) as served:
        assert served.http.post("/v1/groups", json=GROUP).status_code == 500
    said = capfd.readouterr().err
    assert "UnicodeEncodeError" in said
    assert "a secret" not in said


@pytest.mark.parametrize("logs", [False, True])
def test_prompts_are_logged_where_that_is_asked_for(
    judge: Judge, logs: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda: [judge], log_prompts=logs) as served:
        served.http.post("/v1/groups", json=[{**GROUP, "prompt": "a secret"}, 3])
    line = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (line["status"], line["groups"], line["failed"], line["path"]) == (200, 2, 1, "/v1/groups")
    assert line.get("prompts") == (["a secret"] if logs else None)
    assert ("a secret" in str(line)) is logs


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {"query": "a secret", "documents": ["a"]}),
        ("/rm", {"prompt": "a secret", "response": "a"}),
        ("/get_reward", {"prompts": ["a secret"], "query": ["a secret a"]}),
    ],
)
def test_prompts_of_all_endpoints_are_logged(
    judge: Judge, path: str, body: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    for logs in (False, True):
        with serving(lambda: [judge], cohort=1, log_prompts=logs) as served:
            assert served.http.post(path, json=body).status_code == 200
        line = json.loads(capfd.readouterr().err.splitlines()[-1])
        assert (line["path"], line["groups"], line["failed"]) == (path, 1, 0)
        assert line.get("prompts") == (["a secret"] if logs else None)


def test_a_body_of_a_type_that_is_not_read_is_refused_before_it_comes(small: Served) -> None:
    head = HEAD.replace(b"application/json", b"text/plain") + b"Content-Length: 50000\r\n\r\n"
    for path in (b"/v1/groups", b"/v1/rerank", b"/rm"):
        assert exchange(small, head.replace(b"/v1/groups", path)).startswith(b"HTTP/1.1 415")


def test_a_request_fetches_no_more_than_the_options_allow(judge: Judge) -> None:
    limits = {"allow_remote_media": True, "max_total_download_gb": 2 / (1 << 30)}
    with serving(lambda: [judge], limits=limits) as served:
        assert served.service._options.max_total_download_bytes == 2


def test_slow_clients_are_hung_up_on(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT_S", 0.3)
    with serving(lambda: [judge], body_timeout=0.3) as served:
        assert exchange(served) == b""  # one that never says anything
        assert exchange(served, b"GET /health HTTP/1.1\r\n", b"X: y\r\n", pause_s=0.2) == b""
        slow = exchange(served, HEAD + b"Content-Length: 100\r\n\r\n{")
        assert slow.startswith(b"HTTP/1.1 408")
        assert b"did not come within 0.3 s" in slow
        assert served.http.get("/health").status_code == 200
    assert served.service.admission.n_requests == 0


def test_a_second_request_of_a_connection_must_not_be_slow_either(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADER_TIMEOUT_S", 0.3)
    with serving(lambda: [judge]) as served:
        whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        started = time.monotonic()
        text = exchange(served, whole, b"GET /heal")
        assert text.count(b"HTTP/1.1 200") == 1
        assert time.monotonic() - started < 5


def test_a_body_that_nobody_reads_holds_no_connection(keyed: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered before its body has come: pages that need no key, and addresses of nothing."""
    monkeypatch.setattr(keyed.server.config.http_protocol_class, "patience_s", 0.5)
    for path in (b"/health", b"/"):
        started = time.monotonic()
        head = b"GET %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" % path
        text = exchange(keyed, head, b"x", pause_s=0.2)
        assert text.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - started < 5


def test_a_client_that_does_not_read_is_hung_up_on(judge: Judge) -> None:
    with serving(lambda: [judge], body_timeout=0.3) as served:
        record = {"responses": [], "note": "x" * 20_000}  # an error, and the note comes back
        body = json.dumps([record] * 1000).encode()
        with socket.create_connection((served.host, served.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            deadline = time.monotonic() + 10
            while served.service.admission.n_requests == 0 and time.monotonic() < deadline:
                time.sleep(0.01)
            while served.service.admission.n_requests and time.monotonic() < deadline:
                time.sleep(0.01)
        assert served.service.admission.n_requests == 0


def test_a_body_that_is_cut_off_leaves_nothing_behind(small: Served) -> None:
    with socket.create_connection((small.host, small.port)) as connection:
        connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"prompt": "a", ')
    nonsense = exchange(small, HEAD + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
    assert nonsense.startswith(b"HTTP/1.1 400")
    deadline = time.monotonic() + 5
    while small.service.admission.n_requests and time.monotonic() < deadline:
        time.sleep(0.01)
    assert small.service.admission.n_requests == small.service.admission.n_bytes == 0
    assert small.http.post("/v1/groups", json=GROUP).status_code == 200
