"""`POST /v1/groups` and its neighbours, over a real connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import Served, serving
from tests.waiting import wait_until
from yoj_cli import Judge
from yoj_cli.checkpoint.content_hash import content_hash

EXAMPLES = Path(__file__).parents[1] / "examples"
GROUP = {"prompt": "2 + 2?", "responses": ["4", "5", "Four."]}
LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def judge(judges: Callable[..., Judge]) -> Judge:
    return judges("demo")


@pytest.fixture(scope="module")
def served(judge: Judge) -> Iterator[Served]:
    with serving(lambda: [judge], media_root=EXAMPLES) as found:
        yield found


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_record_is_answered_by_the_record_that_the_command_writes(
    served: Served, yoj: Any, write_lines: Any
) -> None:
    _, out, _ = yoj("score", write_lines(GROUP), "-m", "demo", "--quant", "none", "--json")
    answer = served.http.post("/v1/groups", json=GROUP)
    found, wanted = answer.json(), json.loads(out)
    assert found.pop("scores") == pytest.approx(wanted.pop("scores"), abs=5e-5)
    assert found.pop("p_best") == pytest.approx(wanted.pop("p_best"), abs=5e-5)
    assert list(found) == list(wanted)
    assert found == wanted


def test_lines_are_answered_in_their_order_with_errors_in_their_place(served: Served) -> None:
    lines = [json.dumps({**GROUP, "id": 1}), "no JSON", "", json.dumps({"responses": []}), json.dumps(GROUP)]
    found = lines_of(served.http.post("/v1/groups", content="\n".join(lines), headers=LINES))
    assert ["error" in each for each in found] == [False, True, True, False]
    assert found[0]["id"] == 1
    assert found[1] == {"error": {"type": "InputError", "message": found[1]["error"]["message"]}}
    assert found[1]["error"]["message"].startswith("line 2: the line is not JSON")
    assert found[2]["responses"] == []
    assert found[2]["error"]["message"].startswith("line 4: 'responses' must be a list")
    assert found[3]["scores"] == pytest.approx(found[0]["scores"], abs=5e-5)


def test_a_list_is_answered_by_lines(served: Served) -> None:
    found = lines_of(served.http.post("/v1/groups", json=[GROUP, 3, GROUP]))
    assert [list(each)[-1] for each in found] == ["judge", "error", "judge"]
    assert served.http.post("/v1/groups", json=[]).text == ""


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"no JSON", "application/json", 400, "the body is not JSON: Expecting value (line 1, column 1)"),
        (b"{", "application/json", 400, "the body is not JSON"),
        (b"", "application/json", 400, "the body is not JSON"),
        (b"\xff", "application/json", 400, "the body is not UTF-8 (byte 0)"),
        (b'{"a": 1, "a": 2}', "application/json", 400, "'a' stands twice"),
        (b"[" * 100_000, "application/json", 400, "nested too deep"),
        (b"no\nJSON\n", "application/x-ndjson", 400, "line 1: the line is not JSON"),
        (b"3", "application/json", 422, "expected a JSON object, found the number 3"),
        (b'{"prompt": "a"}', "application/json", 422, "the line has no responses"),
        (b"prompt=a", "application/x-www-form-urlencoded", 415, "is not read"),
        (b"{}", "", 415, "the body has no type"),
    ],
)
def test_what_is_wrong_with_a_body_is_a_problem(
    served: Served, body: bytes, kind: str, status: int, says: str
) -> None:
    answer = served.http.post("/v1/groups", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert says in problem["detail"]
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert {"type", "title", "hint"} < set(problem)


def test_another_judge_than_the_loaded_one_is_named(served: Served) -> None:
    answer = served.http.post("/v1/groups?model=other", json=GROUP)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "'other' is asked for, and 'demo' is loaded"
    assert served.http.post("/v1/groups?model=demo", json=GROUP).status_code == 200


def test_a_request_keeps_its_id(served: Served) -> None:
    assert served.http.get("/health", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert len(served.http.get("/health", headers={"X-Request-ID": "a b"}).headers["x-request-id"]) == 32


def test_what_there_is_besides(served: Served, judge: Judge) -> None:
    (model,) = served.http.get("/v1/models").json()["data"]
    settings = {"content": content_hash(judge.checkpoint), "max_tokens": judge.max_tokens}
    assert model == {"id": "demo", "object": "model", "judge": judge.description, "settings": settings}
    assert served.http.get("/health").json() == {"status": "alive"}
    assert served.http.get("/ready").json() == {"status": "ready"}
    assert 'yoj_requests_total{path="/v1/models",status="200"}' in served.http.get("/metrics").text
    assert served.http.get("/nope").status_code == 404
    wrong = served.http.put("/v1/groups")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert "/v1/groups" in served.http.get("/openapi.json").json()["paths"]


def test_it_is_alive_before_it_is_ready(judge: Judge) -> None:
    may_load = threading.Event()

    def load() -> list[Judge]:
        may_load.wait(10)
        return [judge]

    with serving(load, wait=False) as served:
        assert served.http.get("/health").status_code == 200
        for answer in (
            served.http.get("/ready"),
            served.http.post("/v1/groups", json=GROUP),
            served.http.get("/v1/models"),
        ):
            assert answer.status_code == 503
            assert answer.json()["detail"] == "the judge is being loaded"
        may_load.set()


def test_every_example_of_the_description_is_answered(served: Served) -> None:
    body = served.http.get("/openapi.json").json()["paths"]["/v1/groups"]["post"]["requestBody"]["content"]
    for kind, described in body.items():
        for name, example in described["examples"].items():
            value = example["value"]
            raw = value if isinstance(value, str) else json.dumps(value)
            answer = served.http.post("/v1/groups", content=raw, headers={"content-type": kind})
            assert answer.status_code == 200, (name, answer.text)
            assert "error" not in [list(json.loads(line))[-1] for line in answer.text.splitlines()]


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/models", "/metrics", "/", "/openapi.json"])
def test_head_is_answered_as_get_is_without_a_body(
    served: Served, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What watches a server often asks so."""
    got, head = served.http.get(path), served.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) > 0
    wait_until(lambda: '"HEAD"' in (said := capfd.readouterr().err) and '"bytes_out": 0' in said)
    label = f'yoj_requests_total{{path="{path}",status="200"}}'
    assert path == "/openapi.json" or label in served.http.get("/metrics").text


def test_head_of_what_is_posted_is_refused(served: Served) -> None:
    answer = served.http.head("/v1/groups")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


@pytest.mark.parametrize("path", ["/v1/groups/", "/health/", "/v1/models/"])
def test_no_answer_leads_elsewhere(served: Served, path: str) -> None:
    """A redirection to http, from behind a proxy that has the TLS, would take the key along in the clear."""
    answer = served.http.get(path)
    assert (answer.status_code, answer.json()["hint"]) == (404, "Leave out the slash at the end.")


def test_an_option_that_is_none_is_refused(served: Served) -> None:
    answer = served.http.post("/v1/groups?timeout=5", json=GROUP)
    assert (answer.status_code, answer.json()["detail"]) == (422, "there is no option 'timeout'")
    answer = served.http.post("/v1/groups?timeout_s=0.5", json=GROUP)
    assert "timeout_s: Input should be greater than or equal to 1" in answer.json()["detail"]
