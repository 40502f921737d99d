"""A judge behind a server: the same verdicts as in process, whatever happens to the connection."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from tests.processes import YOJ, environment
from tests.serving import Served, serving
from tests.waiting import wait_until
from yoj_cli import (
    Failure,
    InputError,
    Judge,
    MediaError,
    RemoteJudge,
    ServerError,
    TooLongError,
    UsageError,
    read_groups,
)
from yoj_cli.client import connection
from yoj_cli.verdicts.verdict import Verdict

EXAMPLES = Path(__file__).parents[1] / "examples"
CANDIDATES = EXAMPLES / "candidates.jsonl"
KEY = "0123456789abcdef"


class Between:
    """Stands between a client and a real server, and can be told to misbehave.

    Attributes:
        refusals: status, headers and problem that requests for scores get, one each, before any is passed on.
        refuse_from: a request with this group, or later ones, gets status 500.
        break_after: lines after which the connection breaks, one number a request.
        bodies, headers, queries: of the requests for scores that came.
    """

    def __init__(self, upstream: httpx.Client) -> None:
        self.refusals: list[tuple[int, dict[str, str], dict[str, str]]] = []
        self.refuse_from: int | None = None
        self.break_after: list[int] = []
        self.bodies: list[list[dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.queries: list[str] = []
        self._lock = threading.Lock()
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                found = upstream.get(self.path)
                self.answer(found.status_code, {"Content-Type": found.headers["content-type"]}, found.content)

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                refusal, n_lines = between.note(self.headers, self.path, content)
                if refusal is not None:
                    status, headers, problem = refusal
                    headers = {"Content-Type": "application/problem+json", **headers}
                    self.answer(status, headers, json.dumps(problem).encode())
                    return
                kind = {"Content-Type": self.headers["content-type"]}
                found = upstream.post(self.path, content=content, headers=kind)
                lines = found.content.splitlines(keepends=True)
                whole = len(found.content)
                self.send_response(found.status_code)
                self.send_header("Content-Type", found.headers["content-type"])
                self.send_header("Content-Length", str(whole))
                self.end_headers()
                self.wfile.write(b"".join(lines[:n_lines]))
                self.close_connection = n_lines is not None

            def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def note(self, headers: Any, path: str, content: bytes) -> tuple[Any, int | None]:
        """What becomes of a request: its refusal, and the lines after which it breaks off."""
        with self._lock:
            self.bodies.append([json.loads(line) for line in content.splitlines()])
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.queries.append(path.partition("?")[2])
            if self.refusals:
                return self.refusals.pop(0), None
            if self.refuse_from is not None and self.bodies[-1][-1]["id"] >= self.refuse_from:
                return (500, {}, {"detail": "oops"}), None
            return None, self.break_after.pop(0) if self.break_after else None


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server of raw bytes: each connection gets the next of them, and is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(5)
                    read_request(client)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def read_request(client: socket.socket) -> None:
    """All of it: a connection that is closed before that is reset."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += client.recv(1 << 16)


def http(body: object, kind: str = "application/json", status: str = "200 OK") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content


def lines(*records: object) -> bytes:
    content = b"".join(
        (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in records
    )
    return http(content, "application/x-ndjson")


VERDICT = {
    "id": 0,
    "scores": [2, 1],
    "ranks": [1, 2],
    "p_best": [1, 0],
    "judge": {"model": "demo", "orders": 1},
}


def models(**judge: Any) -> bytes:
    return http(
        {"object": "list", "data": [{"id": "demo", "judge": {"model": "demo", "orders": 1, **judge}}]}
    )


@pytest.fixture(scope="module")
def local() -> Iterator[Judge]:
    with Judge.load("demo", device="cpu", orders=2) as judge:
        yield judge


@pytest.fixture(scope="module")
def running(local: Judge) -> Iterator[Served]:
    with serving(lambda: [local]) as served:
        yield served


@pytest.fixture
def served(running: Served) -> Iterator[Between]:
    between = Between(running.http)
    thread = threading.Thread(target=between.server.serve_forever, args=(0.02,))
    thread.start()
    yield between
    between.server.shutdown()
    thread.join()
    between.server.server_close()


@pytest.fixture
def remote(served: Between) -> Iterator[RemoteJudge]:
    with RemoteJudge(served.url, patience_s=5) as judge:
        yield judge


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.01)


def assert_same(found: Verdict, expected: Verdict) -> None:
    np.testing.assert_allclose(found.scores, expected.scores, atol=5e-5)
    np.testing.assert_allclose(found.p_best, expected.p_best, atol=5e-5)
    assert found.spread is not None
    np.testing.assert_allclose(found.spread, expected.spread, atol=5e-5)
    assert (found.ranks, found.order_agreement) == (expected.ranks, expected.order_agreement)
    assert (found.best, found.n_orders) == (expected.best, expected.n_orders)


def test_it_says_what_the_judge_says(remote: RemoteJudge, local: Judge) -> None:
    assert remote.description == local.description
    ask: dict[str, Any] = {
        "images": [EXAMPLES / "pictures" / "scene-1.png"],
        "responses": ["A red circle.", "A cow."],
    }
    assert_same(remote.score(**ask), local.score(**ask))


def test_a_file_of_groups_gives_the_same_verdicts_in_order(remote: RemoteJudge, local: Judge) -> None:
    found = list(remote.score_groups(read_groups(str(CANDIDATES))))
    expected = list(local.score_groups(read_groups(str(CANDIDATES))))
    assert [each.group.id for each in found if isinstance(each, Verdict)] == [
        each.group.id for each in expected if isinstance(each, Verdict)
    ]
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, Verdict)
        assert isinstance(other, Verdict)
        assert_same(one, other)
        assert one.group == other.group  # with its record and its rankings


def test_pictures_in_memory_go_as_they_are_seen(remote: RemoteJudge, local: Judge) -> None:
    with Image.open(EXAMPLES / "pictures" / "scene-1.png") as file:
        clear = file.convert("RGBA")
    clear.putpixel((0, 0), (9, 9, 9, 0))
    array = np.asarray(clear.convert("RGB"))
    for picture in (clear, array, clear.convert("L"), clear.convert("P")):
        ask: dict[str, Any] = {"images": picture, "responses": ["A red circle.", "A cow."]}
        assert_same(remote.score(**ask), local.score(**ask))


def test_clips_and_folders_of_frames_are_sent(
    remote: RemoteJudge, local: Judge, tmp_path: Path, served: Between
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (10, 9, 1):
        shutil.copy(EXAMPLES / "pictures" / f"scene-{number % 4 + 1}.png", folder / f"{number}.png")
    clip = next((EXAMPLES / "clips").glob("*.mp4"))
    for video in (clip, folder, {"frames": str(folder), "seconds_per_frame": 0.5}):
        ask: dict[str, Any] = {"videos": [video], "responses": ["A red circle.", "A cow."]}
        assert_same(remote.score(**ask), local.score(**ask))
    sent = served.bodies[-1][0]["messages"][0]["content"][0]["video"]
    assert (len(sent["frames"]), sent["seconds_per_frame"]) == (3, 0.5)


def test_nothing_else_of_a_line_is_sent(
    remote: RemoteJudge, served: Between, write_lines: Callable[..., Path]
) -> None:
    path = write_lines(
        {"id": "x", "prompt": "q", "responses": ["a", "b"], "rankings": [1, 2], "note": "mine"}
    )
    (verdict,) = remote.score_groups(read_groups(str(path)))
    assert isinstance(verdict, Verdict)
    assert verdict.group.record["note"] == "mine"
    (sent,) = served.bodies[0]
    assert sent == {
        "id": 0,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}],
        "responses": ["a", "b"],
    }
    assert served.queries == ["model=demo"]


def test_errors_are_those_of_the_judge_with_their_places_here(
    remote: RemoteJudge, local: Judge, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    shutil.copy(EXAMPLES / "pictures" / "scene-1.png", tmp_path / "good.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    records = [
        {"prompt": "q", "images": ["good.png", "broken.png"], "responses": ["a"]},
        {"prompt": "q", "responses": ["word " * 40_000]},
        {"prompt": "q", "images": ["missing.png"], "responses": ["a"]},
        {"prompt": "q", "responses": []},
        {"prompt": "q", "video": {"frames": ["good.png", "broken.png"]}, "responses": ["a"]},
        {"prompt": "q", "video": {"frames": ["good.png", "small.png"]}, "responses": ["a"]},
        {"prompt": "q", "responses": ["good"]},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    found = list(remote.score_groups(read_groups(str(path))))
    expected = list(local.score_groups(read_groups(str(path))))
    assert [type(each.error) for each in found if isinstance(each, Failure)] == [
        MediaError, TooLongError, MediaError, InputError, MediaError, MediaError,
    ]  # fmt: skip
    for one, other in zip(found[:6], expected[:6], strict=True):
        assert isinstance(one, Failure)
        assert isinstance(other, Failure)
        assert str(one.error) == str(other.error)
        assert one.record == other.record
    assert isinstance(found[6], Verdict)


def test_many_groups_go_in_few_requests(remote: RemoteJudge, served: Between) -> None:
    records = [{"prompt": f"q{n}", "responses": ["a", "b"]} for n in range(100)]
    found = list(remote.score_groups(records))
    assert [each.group.messages[0].blocks for each in found if isinstance(each, Verdict)] == [
        (f"q{n}",) for n in range(100)
    ]
    assert sorted(map(len, served.bodies)) == [4, *[16] * 6]


def test_a_slow_stream_is_not_waited_for(remote: RemoteJudge) -> None:
    came = threading.Event()

    def slow() -> Iterator[dict[str, Any]]:
        yield {"prompt": "q", "responses": ["a"]}
        assert came.wait(10)
        yield {"prompt": "q", "responses": ["b"]}

    results = remote.score_groups(slow(), live=True)
    assert isinstance(next(results), Verdict)
    came.set()
    assert len(list(results)) == 1


def test_what_broke_off_is_asked_again_and_only_that(remote: RemoteJudge, served: Between) -> None:
    served.break_after = [3, 0]
    records = [{"prompt": f"q{n}", "responses": ["a", "b"]} for n in range(5)]
    found = list(remote.score_groups(records))
    assert all(isinstance(each, Verdict) for each in found)
    assert [[each["id"] for each in body] for body in served.bodies] == [[0, 1, 2, 3, 4], [3, 4], [3, 4]]
    assert len({each["x-request-id"] for each in served.headers}) == 1


def test_a_busy_server_is_asked_again_when_it_says(remote: RemoteJudge, served: Between) -> None:
    served.refusals = [(429, {"Retry-After": "0.3"}, {"title": "Busy"}), (503, {}, {"title": "Loading"})]
    started = time.monotonic()
    assert remote.score(prompt="q", responses=["a", "b"]).ranks
    assert time.monotonic() - started > 0.3
    assert len(served.bodies) == 3


def test_a_person_is_told_once_when_the_server_goes_and_comes_back(yoj: Run, served: Between) -> None:
    served.refusals = [(503, {}, {"detail": "the judge is being loaded"})] * 3
    code, _, err = yoj("rank", "--server", served.url, "-p", "q", "-t", "a", "-t", "b")
    assert code == 0
    assert [
        line for line in err.splitlines() if not line.startswith("{")
    ] == [  # the server's log goes there too
        f"{served.url}: the judge is being loaded; trying again for 600 s",
        f"{served.url}: is back",
    ]
    served.refusals = [(503, {}, {"detail": "later"}), (429, {}, {"detail": "later"})]
    assert served.url not in yoj("rank", "--server", served.url, "-q", "-p", "q", "-t", "a", "-t", "b")[2]


def test_patience_ends(served: Between) -> None:
    served.refusals = [(429, {}, {"detail": "64 groups wait already"})] * 1000
    with (
        RemoteJudge(served.url, patience_s=0.3) as judge,
        pytest.raises(ServerError, match=r"64 groups wait already; tried for 0\.3 s"),
    ):
        judge.score(prompt="q", responses=["a", "b"])


def test_a_request_that_is_too_large_goes_in_parts(remote: RemoteJudge, served: Between) -> None:
    served.refusals = [(413, {}, {"detail": "more than 9 bytes"})] * 3
    found = list(remote.score_groups({"prompt": "q", "responses": [text]} for text in "abcd"))
    assert [type(each).__name__ for each in found] == ["Failure", "Verdict", "Verdict", "Verdict"]
    assert isinstance(found[0], Failure)
    assert (
        str(found[0].error) == "record 1: the server refuses what is sent for this group: more than 9 bytes"
    )


def test_a_group_that_is_too_large_is_refused_here(remote: RemoteJudge, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(40 << 20)
    with pytest.raises(
        MediaError, match=r"large.mp4: it has 41,943,040 bytes; a request for one group has at most"
    ):
        remote.score(videos=large, responses=["a"])
    with pytest.raises(InputError, match="the group takes 50,"):
        remote.score(prompt="q" * 50_400_000, responses=["a"])


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([http(b"<html>", "text/html")], "does not answer with JSON"),
        ([http(b"<html>", "text/html", "404 Not Found")], r"does not answer as yoj serve does \(404, text/html\)"),
        ([http([1])], "does not list its judges"),
        ([http({"data": []})], "has no judge"),
        ([http(b"{" * (2 << 20))], "does not answer with JSON"),
        ([models(), http({}, status="500 Oops")], r"does not answer as yoj serve does \(500"),
        ([models(), http({"title": "Oops"}, status="500 Oops")], r"refused a request \(500\): Oops"),
        ([models(), http({})], r"does not answer as yoj serve does \(200, application/json\)"),
        ([models(), lines(b"junk")], "a line that is not JSON: 'junk'"),
        ([models(), lines({"id": 7})], "a record of another group"),
        ([models(), lines(VERDICT | {"scores": [1]})], "no verdict on this group"),
        ([models(), lines(VERDICT | {"scores": [1e99, 1]})], "no verdict on this group"),
        ([models(), lines(VERDICT | {"scores": ["2", 1]})], "no verdict on this group"),
        ([models(), lines(VERDICT | {"ranks": [0, 2]})], "no verdict on this group"),
        ([models(), lines(VERDICT | {"judge": None})], "no verdict on this group"),
        ([models(mode="multi"), lines(VERDICT)], "mode was 'multi', now None"),
        ([models(), lines({"id": 0, "error": "no"})], "an error without type and message"),
        ([models(), lines({"id": 0, "error": {"type": "KeyboardInterrupt", "message": "line 1: oh"}})], "oh"),
        ([models(), lines({"id": 0, "error": {"type": "UnexpectedError", "message": "line 1: oh"}})], "oh"),
        ([models(), lines(VERDICT, VERDICT)], "answers more than was asked"),
        ([models(), lines(b"x" * (2 << 20))], "answers more than was asked"),
        ([models(), lines()] * 99, "ended its answer before the last group"),
        ([models(), *[b"SSH-2.0-OpenSSH_9\r\n"] * 99], "broke off"),
        ([models(), *[b""] * 99], "broke off"),
    ],
)  # fmt: skip
def test_rubbish_is_called_so(yoj: Run, answers: list[bytes], words: str) -> None:
    patience_s = 0.3 if len(answers) > 9 else 10
    with answering(*answers) as url:
        ask = ("rank", "--server", url, "-p", "q", "-t", "a", "-t", "b", "--server-patience", patience_s)
        code, out, err = yoj(*ask)
    assert (code, out) == (4, "")
    assert "Traceback" not in err
    assert re.search(words, err), err


def test_a_server_that_is_not_there(yoj: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = time.monotonic()
    code, out, err = yoj("rank", "--server", f"http://127.0.0.1:{port}", "-p", "q", "-t", "a")
    assert (code, out) == (4, "")
    assert err == (
        f"yoj: http://127.0.0.1:{port}: cannot be reached (Connection refused)\n"
        "Start one with `yoj serve`, or correct --server (YOJ_SERVER).\n"
    )
    assert time.monotonic() - started < 10  # --patience is 600


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8321", "ftp://x", "http://", "http://[", "http://a:b@c", "http://x:y", ""]
)
def test_what_is_no_address_is_wrong_usage(yoj: Run, url: str) -> None:
    code, _, err = yoj("rank", "--server", url, "-m", "nobody/nothing", "-p", "q", "-t", "a", "--offline")
    assert code == (3 if url == "" else 2)
    assert "Traceback" not in err


def test_a_key_is_sent_and_never_shown(
    yoj: Run, served: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "key"
    keys.write_text(f"# mine\n{KEY}\n", encoding="utf-8")
    ask = ("rank", "--server", served.url, "-p", "q", "-t", "a", "-t", "b")
    served.refusals = [(401, {}, {"detail": "wrong key"})]
    code, _, err = yoj(*ask, "--api-key-file", keys)
    assert (code, KEY in err) == (2, False)
    assert "wrong key" in err
    monkeypatch.setenv("YOJ_API_KEY", "another-key-of-mine")
    assert yoj(*ask)[0] == 0
    assert [each["authorization"] for each in served.headers] == [
        f"Bearer {KEY}",
        "Bearer another-key-of-mine",
    ]
    keys.write_text("", encoding="utf-8")
    assert yoj(*ask, "--api-key-file", keys)[0] == 2
    monkeypatch.setenv("YOJ_API_KEY", "two\nlines")
    code, _, err = yoj(*ask)
    assert (code, "two" in err) == (2, False)


def test_the_command_prints_what_it_prints_without_a_server(
    yoj: Run, served: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = yoj("score", CANDIDATES, "-m", "demo", "--device", "cpu", "--orders", 2)
    monkeypatch.setenv("YOJ_SERVER", served.url)
    there = yoj("score", CANDIDATES)
    assert (here[0], there[0]) == (0, 0)
    for one, other in zip(
        map(json.loads, here[1].splitlines()), map(json.loads, there[1].splitlines()), strict=True
    ):
        for key in ("scores", "p_best", "spread"):
            np.testing.assert_allclose(one.pop(key), other.pop(key), atol=5e-5)
        assert one == other
        assert list(one) == list(other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-m", "other"], "the server has 'demo', not 'other'"),
        (["--orders", "1"], "--orders 1: the server's judge has 2 there"),
        (["--mode", "single"], "--mode single: the server's judge has 'multi' there"),
        (["--device", "cuda"], "--device cuda: the server's judge has 'cpu' there"),
        (["--max-tokens", "100"], "--max-tokens 100: the server's judge has 24576 there"),
        (["--max-batch-tokens", "100"], "--max-batch-tokens: is the server's to decide"),
        (["--max-picture-mp", "9"], "max_pixels is the server's to decide"),
        (["--workers", "2"], "--workers: is the server's to decide"),
        (["--engine", "ray"], "--server: contradicts --engine ray"),
    ],
)
def test_what_the_server_decides_cannot_be_asked_otherwise(
    yoj: Run, served: Between, options: list[str], words: str
) -> None:
    code, out, err = yoj("score", CANDIDATES, "--server", served.url, *options)
    assert (code, out) == (2, "")
    assert words in err
    assert not served.bodies


def test_what_the_server_has_may_be_asked(yoj: Run, served: Between) -> None:
    options = (
        "-m",
        "demo",
        "--orders",
        2,
        "--mode",
        "multi",
        "--device",
        "cpu",
        "--quant",
        "auto",
        "--seed",
        0,
    )
    assert yoj("score", CANDIDATES, "--server", served.url, *options, "--limit", 1)[0] == 0


def test_an_interrupted_run_goes_on_and_not_without_the_server(
    yoj: Run, served: Between, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    path = write_lines(*({"prompt": f"q{n}", "responses": ["a", "b"]} for n in range(40)))
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    assert yoj("score", path, "--server", served.url, "-o", whole)[0] == 0
    served.refuse_from = 32
    assert yoj("score", path, "--server", served.url, "-o", parts)[0] == 4
    assert len(parts.read_text().splitlines()) == 32
    served.refuse_from = None
    code, _, err = yoj("score", path, "-m", "demo", "--device", "cpu", "--orders", 2, "-o", parts, "--resume")
    assert (code, "max_batch_tokens is the server's there" in err) == (2, True)
    assert yoj("score", path, "--server", served.url, "-o", parts, "--resume")[0] == 0
    assert [json.loads(line)["prompt"] for line in parts.read_text().splitlines()] == [
        f"q{n}" for n in range(40)
    ]


def test_no_frame_of_a_list_names_a_file_of_the_server(running: Served, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "pictures" / "scene-1.png", tmp_path / "a.png")
    frames = {"frames": [str(tmp_path / "a.png")]}
    for video in (frames, [frames]):
        refused = running.http.post("/v1/groups", json={"prompt": "q", "video": video, "responses": ["a"]})
        assert (refused.status_code, "files of the server" in refused.text) == (422, True)


def test_it_imports_neither_torch_nor_pillow_nor_numpy(served: Between, tmp_path: Path) -> None:
    program = """if True:
        import sys
        from yoj_cli.cli.main import main
        try:
            main()
        except SystemExit as ended:
            heavy = {"torch", "transformers", "PIL", "numpy", "rich", "click"} & set(sys.modules)
            print(ended.code, sorted(heavy), file=sys.stderr)
    """
    command = [sys.executable, "-c", program, "score", str(CANDIDATES), "-q", "--server", served.url]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert done.stderr == "0 []\n"
    assert done.stdout.count("\n") == 7


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    served: Between, write_lines: Callable[..., Path]
) -> None:
    path = write_lines(*({"prompt": f"q{n}", "responses": ["a"]} for n in range(300)))
    command = [*YOJ, "score", str(path), "-q", "--server", served.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_ctrl_c_ends_it_quietly(served: Between, write_lines: Callable[..., Path]) -> None:
    path = write_lines(*({"prompt": f"q{n}", "responses": ["a"]} for n in range(40)))
    served.refusals = [(503, {"Retry-After": "60"}, {"detail": "later"})] * 99
    command = [*YOJ, "score", str(path), "-q", "--server", served.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        wait_until(lambda: served.bodies)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - started < 10
        assert process.communicate() == (b"", b"")


@pytest.mark.slow
def test_killed_and_started_again_nothing_is_lost_and_nothing_answered_twice_differently(
    tmp_path: Path, write_lines: Callable[..., Path], local: Judge
) -> None:
    groups = [json.loads(line) for line in CANDIDATES.read_text(encoding="utf-8").splitlines()]
    short = [{"id": f"s{n}", "prompt": f"question {n}", "responses": ["yes", "no"]} for n in range(60)]
    records = [{**group, "id": f"{group['id']}-{n}"} for n in range(8) for group in groups] + short
    path = write_lines(*records)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = [*YOJ, "serve", "-m", "demo", "--device", "cpu", "--orders", "2", "--port", str(port)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(serve, stderr=subprocess.DEVNULL, env=environment(YOJ_SERVER=""))

    url, out = f"http://127.0.0.1:{port}", tmp_path / "out.jsonl"
    server = start()
    try:
        wait_until_ready(url)
        score = [*YOJ, "score", str(path), "--media-root", str(EXAMPLES), "--server", url, "-o", str(out)]
        client = subprocess.Popen(score, stderr=subprocess.PIPE, env=environment())
        wait_until(lambda: out.exists() and out.stat().st_size)
        server.kill()
        server.wait()
        server = start()
        _, said = client.communicate(timeout=120)
        assert client.returncode == 0, said
        assert b"is back" in said
    finally:
        server.kill()
        server.wait()
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [record["id"] for record in records]
    for line, verdict in zip(
        lines, local.score_groups(read_groups(str(path), media_root=EXAMPLES)), strict=True
    ):
        assert isinstance(verdict, Verdict)
        np.testing.assert_allclose(line["scores"], verdict.scores, atol=5e-5)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 100
    while True:
        try:
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_says_little_of_its_judge_is_no_bug_of_ours(
    yoj: Run, write_lines: Callable[..., Path]
) -> None:
    path = write_lines({"prompt": "q", "responses": ["a", "b"]})
    with answering(models(), lines(VERDICT)) as url:
        code, _, err = yoj("score", path, "--server", url, "-o", path.with_name("out.jsonl"), "-q")
    assert (code, err) == (0, "")


def test_what_the_server_had_no_time_for_is_asked_again() -> None:
    late = {"id": 1, "error": {"type": "DeadlineError", "message": "line 2: not scored within 600 s"}}
    answers = [models(), lines(VERDICT, late), lines({**VERDICT, "id": 1})]
    group = {"prompt": "q", "responses": ["a", "b"]}
    with answering(*answers) as url, RemoteJudge(url, patience_s=5) as judge:
        assert [type(each) for each in judge.score_groups([group, group])] == [Verdict, Verdict]
    with answering(models(), lines({**late, "id": 0})) as url, RemoteJudge(url, patience_s=5) as judge:
        (failure,) = judge.score_groups([group])  # alone it had all the time there is
        assert isinstance(failure, Failure)
        assert str(failure.error) == "record 1: not scored within 600 s"


def test_a_device_that_is_lost_ends_the_run() -> None:
    lost = {"id": 0, "error": {"type": "DeviceError", "message": "line 1: the device is gone"}}
    with (
        answering(models(), lines(lost)) as url,
        RemoteJudge(url, patience_s=5) as judge,
        pytest.raises(ServerError, match="the device is gone"),
    ):
        judge.score(prompt="q", responses=["a", "b"])
    with pytest.raises(UsageError, match="the connection is closed"):
        judge.score(prompt="q", responses=["a", "b"])


def test_a_server_that_comes_back_with_other_files_under_one_name_ends_the_run() -> None:
    def with_content(content: str) -> bytes:
        entry = {"id": "demo", "judge": {"model": "demo"}, "settings": {"content": content}}
        return http({"data": [entry]})

    with (
        answering(with_content("abc"), b"", with_content("def")) as url,
        RemoteJudge(url, patience_s=5) as judge,
        pytest.raises(
            ServerError, match="another judge than when this run began: content was 'abc', now 'def'"
        ),
    ):
        judge.score(prompt="q", responses=["a", "b"])


@pytest.mark.parametrize("n_answered", [0, 1])
def test_closing_ends_what_waits_for_a_silent_server(n_answered: int) -> None:
    """Be it asked for its judge or for scores; nothing of an answer has come."""
    was_asked, may_end = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(n_answered):
                client, _ = listener.accept()
                with client:
                    read_request(client)
                    client.sendall(models())
            client, _ = listener.accept()
            with client:
                read_request(client)
                was_asked.set()
                assert may_end.wait(30)

        server = threading.Thread(target=serve)
        server.start()
        judge = RemoteJudge(f"http://127.0.0.1:{listener.getsockname()[1]}", patience_s=20)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(judge.score, prompt="q", responses=["a", "b"])
            assert was_asked.wait(10)
            started = time.monotonic()
            judge.close()
            assert isinstance(waiting.exception(timeout=30), ServerError)
            assert time.monotonic() - started < 5
        may_end.set()
        server.join()


def test_what_was_answered_before_a_request_became_too_large_is_not_asked_again() -> None:
    """A server that breaks off after the first of two groups, and comes back with a limit that is smaller."""
    broken = lines(VERDICT).replace(b"Content-Length: ", b"Content-Length: 9")
    large = http({"detail": "more than 9 bytes"}, "application/problem+json", "413 Too Large")
    answers = [models(), broken, models(), large, *(lines({**VERDICT, "id": n}) for n in (1, 2))]
    groups = [{"id": n, "prompt": "q", "responses": ["a", "b"]} for n in range(3)]
    with answering(*answers) as url, RemoteJudge(url, patience_s=5) as judge:
        found = list(judge.score_groups(groups))
    assert [each.group.id for each in found if isinstance(each, Verdict)] == ["0", "1", "2"]
