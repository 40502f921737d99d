"""`POST /v1/rerank`: the judge as a reranker."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Served, serving
from yoj_cli import Judge

SCENE = Path(__file__).parents[1] / "examples" / "pictures" / "scene-1.png"
ASKED = {
    "query": "Describe this image.",
    "documents": ["A red circle in the center.", "Nothing.", "A star.", "A blue square."],
}


@pytest.fixture(scope="module")
def judge(judges: Callable[..., Judge]) -> Judge:
    return judges("demo")


@pytest.fixture(scope="module")
def served(judge: Judge) -> Iterator[Served]:
    with serving(lambda: [judge]) as found:
        yield found


def rerank(served: Served, **changed: Any) -> dict[str, Any]:
    answer = served.http.post("/v1/rerank", json={**ASKED, **changed})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_relevance_is_p_best_and_documents_come_best_first(served: Served, judge: Judge) -> None:
    verdict = judge.score(prompt=ASKED["query"], responses=ASKED["documents"])
    found = rerank(served)
    assert found["model"] == "demo"
    assert found["usage"] == {"prompt_tokens": verdict.n_tokens, "total_tokens": verdict.n_tokens}
    assert [each["index"] for each in found["results"]] == list(verdict.order)
    for each in found["results"]:
        assert each["relevance_score"] == pytest.approx(verdict.p_best[each["index"]], abs=5e-5)
        assert each["score"] == pytest.approx(verdict.scores[each["index"]], abs=5e-5)
        assert "document" not in each


def test_top_n_cuts_the_list_and_zero_does_not(served: Served) -> None:
    assert len(rerank(served, top_n=2)["results"]) == 2
    assert len(rerank(served, top_n=0)["results"]) == 4
    assert len(rerank(served, top_n=9)["results"]) == 4


def test_documents_are_returned_in_their_shape(served: Served) -> None:
    documents = [{"text": "One."}, "Two.", {"content": [{"type": "text", "text": "Three."}]}]
    found = rerank(served, documents=documents, return_documents=True)["results"]
    by_index = {each["index"]: each["document"] for each in found}
    assert by_index == {0: {"text": "One."}, 1: {"text": "Two."}, 2: documents[2]}


def test_a_query_may_show_a_picture(served: Served, judge: Judge) -> None:
    url = "data:image/png;base64," + base64.b64encode(SCENE.read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": ASKED["query"]}]
    found = rerank(served, query={"content": content})
    verdict = judge.score(prompt=ASKED["query"], images=[SCENE], responses=ASKED["documents"])
    scores = {each["index"]: each["score"] for each in found["results"]}
    assert [scores[place] for place in range(4)] == pytest.approx(list(verdict.scores), abs=5e-5)


def test_all_paths_of_other_servers_answer(served: Served) -> None:
    assert {served.http.post(path, json=ASKED).status_code for path in ("/rerank", "/v2/rerank")} == {200}


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"documents": []}, 422, "documents: List should have at least 1 item"),
        ({"documents": ["a"] * 5000}, 422, "5,000 responses"),
        ({"documents": [{"content": [{"type": "image_url"}]}, "b"]}, 422, "responses"),
        ({"query": None}, 422, "query"),
        ({"top_n": -1}, 422, "top_n: Input should be greater than or equal to 0"),
        ({"model": "other"}, 409, "'other' is asked for"),
        ({"query": {"content": [{"type": "image", "path": "/etc/passwd"}]}}, 422, "files of the server"),
    ],
)
def test_what_is_wrong_is_said(served: Served, changed: dict[str, Any], status: int, says: str) -> None:
    answer = served.http.post("/v1/rerank", json={**ASKED, **changed})
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


def test_only_json_is_read(served: Served) -> None:
    answer = served.http.post("/v1/rerank", content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert (
        served.http.post("/v1/rerank", content=b"[", headers={"content-type": "application/json"}).status_code
        == 400
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", b'{"query": "q", "documents": [%s]}'),
        ("/v1/rerank", b'{"query": {"content": [%s]}, "documents": ["a"]}'),
        ("/get_reward", b'{"query": [%s], "prompts": ["a"]}'),
        ("/rm", b'{"prompt": [%s], "response": "a"}'),
    ],
)
def test_a_body_that_is_wrong_in_a_million_places_is_refused_for_the_first(
    served: Served, path: str, body: bytes
) -> None:
    """Each place took 5 KB, and together 36 s in which nobody was answered."""
    started = time.process_time()
    answer = served.http.post(
        path, content=body % (b"1," * 900_000 + b"1"), headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (422, "bad-request")
    assert time.process_time() - started < 5
