"""Many clients, one judge: whose turn it is, what is given up, and what is told when nothing goes on."""

from __future__ import annotations

import base64
import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.gated_judge import GatedJudge
from tests.serving import serving, started
from tests.test_download import serving as serving_files
from tests.waiting import wait_until
from yoj_cli import Judge, MediaOptions
from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.serve import ServeConfig
from yoj_cli.errors import DeviceError, OutOfMemoryError
from yoj_cli.groups import Group
from yoj_cli.records.parse import parse
from yoj_cli.serve import scheduler
from yoj_cli.serve.describe import PICTURE, PICTURE_EXAMPLE
from yoj_cli.serve.fair_queue import FairQueue, Job, Work
from yoj_cli.serve.server import Server, open_listener
from yoj_cli.serve.service import Service

PNG = base64.b64decode(PICTURE)
GROUP = {"prompt": "2 + 2?", "responses": ["4", "5", "Four."]}
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def judge(judges: Callable[..., Judge]) -> Judge:
    return judges("demo")


def job(client: str) -> Job:
    return Job(client, MediaOptions(), lambda results: None)


def works(of: Job, n: int) -> list[Work]:
    return [Work(of, place, parse(GROUP)) for place in range(n)]


def test_each_client_and_each_of_its_requests_has_its_turn() -> None:
    queue, first, second, other = FairQueue(), job("greedy"), job("greedy"), job("modest")
    queue.put(works(first, 3))
    queue.put(works(second, 2))
    queue.put(works(other, 2))
    taken = [queue.take() for _ in range(len(queue))]
    assert [work.job for work in taken] == [first, other, second, other, first, second, first]
    assert [work.place for work in taken if work.job is first] == [0, 1, 2]
    assert len(queue) == 0


def test_a_dropped_request_leaves_the_others_as_they_are() -> None:
    queue, first, second = FairQueue(), job("a"), job("a")
    queue.put([*works(first, 2), *works(second, 2)])
    queue.take()
    queue.drop(first)
    queue.drop(job("nobody"))
    assert [queue.take().job for _ in range(len(queue))] == [second, second]
    queue.put(works(first, 1))
    queue.drop(first)
    assert len(queue) == 0


def test_what_waits_is_read_together_and_scores_do_not_depend_on_it(judge: Judge) -> None:
    gated = GatedJudge(judge)
    groups = [
        {"prompt": f"{n} + {n}?", "responses": [str(n * 2)] * (n % 3) + ["No.", "Yes " * n]}
        for n in range(24)
    ]
    with serving(lambda: [gated]) as served, ThreadPoolExecutor(24) as pool:
        answers = [pool.submit(served.http.post, "/v1/groups", json=each) for each in groups]
        assert gated.engine.entered.wait(10)
        wait_until(lambda: served.service.admission.n_groups == len(groups))
        wait_until(lambda: not any(map(len, served.service._scheduler._lanes.values())))
        gated.engine.gate.set()
        found = [answer.result().json()["scores"] for answer in answers]
    assert sum(gated.engine.batches) == len(groups)
    assert len(gated.engine.batches) <= 8
    for group, scores in zip(groups, found, strict=True):
        assert scores == pytest.approx(judge.score(**group).scores, abs=5e-5)


def test_a_modest_client_does_not_wait_for_a_greedy_one(judge: Judge) -> None:
    """Of 60 long groups of another request some wait, and one group alone is answered before them."""
    with serving(lambda: [judge]) as served, ThreadPoolExecutor(1) as pool:
        greedy = "\n".join([json.dumps({**GROUP, "prompt": "word " * 100})] * 60)
        answer = pool.submit(served.http.post, "/v1/groups", content=greedy, headers=LINES)
        wait_until(lambda: served.service.admission.n_groups == 60)
        assert served.http.post("/v1/groups", json=GROUP).status_code == 200
        assert not answer.done()
        assert served.service._scheduler.n_waiting > 0
        assert len(answer.result().text.splitlines()) == 60


def test_who_comes_when_the_queue_is_full_is_told_to_come_later(judge: Judge) -> None:
    gated = GatedJudge(judge)
    with serving(lambda: [gated], max_waiting=2) as served, ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.http.post, "/v1/groups", json=[GROUP, GROUP])
        wait_until(lambda: served.service.admission.n_groups == 2)
        answer = served.http.post("/v1/groups", json=GROUP)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert answer.json()["detail"] == "2 groups wait, and there is room for 2"
        too_many = served.http.post("/v1/groups", json=[GROUP] * 3)
        assert too_many.status_code == 413
        assert "3 groups, more than 2" in too_many.json()["detail"]
        gated.engine.gate.set()
        assert len(first.result().text.splitlines()) == 2
        assert served.http.post("/v1/groups", json=GROUP).status_code == 200


def test_one_client_leaves_room_for_others(judge: Judge) -> None:
    """It may fill three quarters of the room; whoever comes from another address finds the rest."""
    gated = GatedJudge(judge)
    with serving(lambda: [gated], max_waiting=4) as served, ThreadPoolExecutor(1) as pool:
        greedy = pool.submit(served.http.post, "/v1/groups", json=[GROUP] * 3)
        wait_until(lambda: served.service.admission.n_groups == 3)
        refused = served.http.post("/v1/groups", json=GROUP)
        assert refused.status_code == 429
        assert refused.json()["detail"] == "3 groups of this client wait, and there is room for 3"
        other = httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"))
        with other, ThreadPoolExecutor(1) as second:
            modest = second.submit(other.post, f"{served.url}/v1/groups", json=GROUP)
            wait_until(lambda: served.service.admission.n_groups == 4)
            gated.engine.gate.set()
            assert modest.result().status_code == greedy.result().status_code == 200
    assert not served.service.admission.of_client


def test_bytes_are_bounded_together(judge: Judge) -> None:
    gated = GatedJudge(judge)
    with (
        serving(lambda: [gated], max_body_mb=0.01, max_waiting_mb=0.014) as served,
        ThreadPoolExecutor(1) as pool,
    ):
        group = {**GROUP, "note": "x" * 6000}
        first = pool.submit(served.http.post, "/v1/groups", json=group)
        wait_until(lambda: served.service.admission.n_bytes > 6000)
        answer = served.http.post("/v1/groups", json=group)
        assert answer.status_code == 429
        assert "bytes of this client wait, and there is room for 11,010" in answer.json()["detail"]
        gated.engine.gate.set()
        assert first.result().status_code == 200
    assert served.service.admission.n_bytes == served.service.admission.n_requests == 0


def test_a_request_has_a_deadline(judge: Judge) -> None:
    gated = GatedJudge(judge)
    with serving(lambda: [gated]) as served:
        alone = served.http.post("/v1/groups?timeout_s=1", json=GROUP)
        assert alone.status_code == 504
        assert alone.json()["error"] == {
            "type": "DeadlineError",
            "message": "not scored within 1 s\nSend it again, or fewer groups at a time.",
        }
        several = served.http.post("/v1/groups?timeout_s=1", json=[3, GROUP])
        assert [json.loads(line)["error"]["type"] for line in several.text.splitlines()] == [
            "InputError",
            "DeadlineError",
        ]
        assert served.http.post("/v1/groups?timeout_s=0", json=GROUP).status_code == 422
        gated.engine.gate.set()
        assert served.http.post("/v1/groups?timeout_s=9", json=GROUP).status_code == 200


@pytest.mark.parametrize("is_stream", [False, True])
def test_groups_of_a_client_that_hung_up_never_reach_the_device(judge: Judge, is_stream: bool) -> None:
    gated = GatedJudge(judge)
    with serving(lambda: [gated]) as served:
        with socket.create_connection((served.host, served.port)) as blocker:
            blocker.sendall(request_of(GROUP))
            assert gated.engine.entered.wait(10)  # this pass is not given up, whoever waits
            with socket.create_connection((served.host, served.port)) as gone:
                gone.sendall(request_of([3, *[GROUP] * 20] if is_stream else GROUP))
                wait_until(lambda: served.service.admission.n_requests == 2)
                wait_until(lambda: served.service._scheduler.n_waiting > 0)
            wait_until(lambda: served.service.admission.n_requests == 1)
            assert served.service._scheduler.n_waiting == 0
        gated.engine.gate.set()
        assert served.http.post("/v1/groups", json=GROUP).status_code == 200
    assert gated.engine.batches == [1, 1]


def test_pictures_of_a_client_that_hung_up_are_no_longer_fetched(judge: Judge) -> None:
    """A list of 500 frames, each of which takes its time; without this its thread would be busy for a minute."""
    n_fetched = 0

    def answer(connection: socket.socket, _: str) -> None:
        nonlocal n_fetched
        n_fetched += 1
        time.sleep(0.1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PNG) + PNG)

    limits = {"allow_remote_media": True, "allow_private_media": True}
    with serving_files(answer) as port, serving(lambda: [judge], limits=limits) as served:
        frames = [f"http://127.0.0.1:{port}/{n}" for n in range(500)]
        with socket.create_connection((served.host, served.port)) as gone:
            gone.sendall(request_of({"video": {"frames": frames}, "responses": ["a"]}))
            wait_until(lambda: n_fetched > 1)
        wait_until(lambda: served.service.admission.n_requests == 0)
        n_then = -1
        while n_fetched != n_then:  # those that were under way when it hung up
            n_then = n_fetched
            time.sleep(1)
        assert n_fetched < 100


def request_of(body: Any, *headers: str) -> bytes:
    raw = json.dumps(body).encode()
    head = ["POST /v1/groups HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(raw)}", "", ""]).encode() + raw


def test_a_group_that_finds_no_memory_costs_itself(judge: Judge) -> None:
    gated = GatedJudge(judge, is_open=True)
    with serving(lambda: [gated]) as served:
        gated.engine.error = OutOfMemoryError("there is too little memory for this group")
        assert served.http.post("/v1/groups", json=GROUP).status_code == 413
        (line,) = served.http.post("/v1/groups", json=[GROUP]).text.splitlines()
        assert json.loads(line)["error"]["type"] == "OutOfMemoryError"
        assert served.http.get("/ready").status_code == 200
        gated.engine.error = None
        assert served.http.post("/v1/groups", json=GROUP).status_code == 200


def test_a_pass_that_breaks_costs_its_groups_and_not_the_server(judge: Judge) -> None:
    gated = GatedJudge(judge, is_open=True)
    with serving(lambda: [gated]) as served:
        gated.engine.bug = RuntimeError("nobody foresaw this")
        assert served.http.post("/v1/groups?timeout_s=5", json=GROUP).status_code == 500
        gated.engine.bug = None
        assert served.http.post("/v1/groups?timeout_s=5", json=GROUP).status_code == 200


@pytest.mark.parametrize("body", [GROUP, [GROUP]])
def test_a_lost_device_is_told(judge: Judge, body: Any) -> None:
    gated = GatedJudge(judge, is_open=True)
    with serving(lambda: [gated]) as served:
        gated.engine.error = DeviceError("the device stopped working")
        answer = served.http.post("/v1/groups", json=body)
        assert answer.status_code == 503
        assert "the device stopped working" in answer.json()["detail"]
        for again in (served.http.post("/v1/groups", json=body), served.http.get("/ready")):
            assert (again.status_code, again.json()["detail"]) == (503, "the device cannot be used any more")
        assert served.http.get("/health").status_code == 200
        assert served.http.get("/v1/models").status_code == 200


def test_another_device_does_what_a_lost_one_left(judge: Judge) -> None:
    broken, whole = GatedJudge(judge, is_open=True), GatedJudge(judge)
    broken.engine.error = DeviceError("the device stopped working")
    with serving(lambda: [broken, whole]) as served, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(served.http.post, "/v1/groups", json=GROUP) for _ in range(8)]
        assert broken.engine.entered.wait(10)
        whole.engine.gate.set()
        assert [answer.result().status_code for answer in answers] == [200] * 8
        assert served.http.get("/ready").status_code == 200
    assert len(broken.engine.batches) == 1


def test_what_is_prepared_when_the_last_device_is_lost_is_told_at_once(judge: Judge) -> None:
    class Slow(GatedJudge):
        may_prepare, is_preparing = threading.Event(), threading.Event()

        def prepare(self, group: Group, options: MediaOptions) -> Any:
            if group.prompt == "slow":
                self.is_preparing.set()
                assert self.may_prepare.wait(30)
            return self._judge.prepare(group, options)

    slow = Slow(judge)
    with serving(lambda: [slow]) as served, ThreadPoolExecutor(2) as pool:
        first = pool.submit(served.http.post, "/v1/groups", json=GROUP)
        assert slow.engine.entered.wait(10)
        second = pool.submit(served.http.post, "/v1/groups?timeout_s=8", json={**GROUP, "prompt": "slow"})
        assert slow.is_preparing.wait(10)
        slow.engine.error = DeviceError("the device stopped working")
        slow.engine.gate.set()
        assert first.result().status_code == 503
        wait_until(lambda: served.service.state == "lost")
        slow.may_prepare.set()
        assert second.result().status_code == 503


def test_what_is_prepared_is_bounded_by_its_pixels_too(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for hardly a picture, groups wait in their lane for the device."""
    monkeypatch.setattr(scheduler, "PREFETCHED_BYTES", 1 << 10)
    gated = GatedJudge(judge)
    group = {"image": PICTURE_EXAMPLE["image"], "responses": ["Red.", "Blue."]}
    with serving(lambda: [gated]) as served, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.http.post, "/v1/groups", json=[group] * 24)
        assert gated.engine.entered.wait(10)
        lanes = served.service._scheduler._lanes
        time.sleep(0.5)
        assert len(lanes["pictures"]) > 8
        gated.engine.gate.set()
        assert len(answer.result().text.splitlines()) == 24


def test_two_devices_share_one_queue(judge: Judge) -> None:
    both = [GatedJudge(judge), GatedJudge(judge)]
    with serving(lambda: both) as served, ThreadPoolExecutor(1) as pool:
        lines = "\n".join([json.dumps({**GROUP, "prompt": "word " * 150})] * 16)
        answer = pool.submit(served.http.post, "/v1/groups", content=lines, headers=LINES)
        assert all(each.engine.entered.wait(10) for each in both)  # at the same time
        for each in both:
            each.engine.gate.set()
        assert len(answer.result().text.splitlines()) == 16
    assert sum(sum(each.engine.batches) for each in both) == 16


def test_a_server_that_ends_finishes_what_it_accepted(judge: Judge) -> None:
    gated = GatedJudge(judge)
    with serving(lambda: [gated]) as served, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(served.http.post, "/v1/groups", json=[GROUP] * 5)
        assert gated.engine.entered.wait(10)
        served.server.stop()
        refused = httpx.post(f"{served.url}/v1/groups", json=GROUP)
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert refused.json()["detail"] == "the server is about to end"
        gated.engine.gate.set()
        assert len(accepted.result().text.splitlines()) == 5
        served.thread.join(10)
        assert not served.thread.is_alive()


def test_what_cannot_be_finished_is_told_before_the_end(judge: Judge) -> None:
    gated = GatedJudge(judge)
    with serving(lambda: [gated]) as served, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(served.http.post, "/v1/groups", json=[GROUP] * 2)
        assert gated.engine.entered.wait(10)
        served.server.stop(within_s=3)
        lines = accepted.result().text.splitlines()
        assert "the server ended before it was scored" in json.loads(lines[1])["error"]["message"]
        served.thread.join(10)
        assert not served.thread.is_alive()  # whatever the pass on the device does
        assert "yoj-prefetch-yoj-serve" in {thread.name for thread in threading.enumerate()}
        gated.engine.gate.set()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_in_good_order(sign: signal.Signals) -> None:
    lines = "\n".join([json.dumps({**GROUP, "prompt": "word " * 100})] * 40)
    with started() as (process, url), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{url}/v1/groups", content=lines, headers=LINES, timeout=60)
        wait_until(lambda: "yoj_open_groups 40.0" in httpx.get(f"{url}/metrics").text)
        process.send_signal(sign)
        assert [list(json.loads(line))[-1] for line in answer.result().text.splitlines()] == ["judge"] * 40
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "what was accepted is finished" in err
    assert "Traceback" not in err


def test_a_judge_that_cannot_be_loaded_ends_the_command(yoj: Any, tmp_path: Any) -> None:
    code, _, err = yoj("serve", "-m", tmp_path, "--port", "0")
    assert code == 3
    assert "Traceback" not in err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = yoj("serve", "-m", "demo", "--port", taken.getsockname()[1])
    assert code == 2
    assert "cannot be listened on" in err


def test_a_judge_that_is_loaded_after_the_end_starts_nothing(judge: Judge) -> None:
    may_load, has_loaded = threading.Event(), threading.Event()

    def load() -> list[Judge]:
        may_load.wait(10)
        has_loaded.set()
        return [judge]

    with serving(load, wait=False) as served:
        assert served.http.get("/health").status_code == 200
    (loading,) = [each for each in threading.enumerate() if each.name == "yoj-prefetch-load"]
    may_load.set()
    loading.join(10)
    assert has_loaded.is_set()
    assert not [each for each in threading.enumerate() if each.name.startswith("yoj-serve")]


def test_the_socket_is_closed_also_where_the_server_is_told_to_end_before_it_is_up(judge: Judge) -> None:
    config = ServeConfig(port=0)
    listener = open_listener(config)
    server = Server(Service(config, JudgeConfig(model="demo"), InputConfig()), lambda: [judge])
    server.should_exit = True
    server.run([listener])
    assert listener.fileno() == -1


def test_no_thread_is_left(judge: Judge) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with serving(lambda: [judge]) as served:
        served.http.post("/v1/groups", json=GROUP)
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("yoj-serve")])
    assert "yoj-prefetch-load" not in {thread.name for thread in threading.enumerate()} - before
