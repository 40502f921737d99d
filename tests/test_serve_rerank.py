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


PNG = base64.b64encode(SCENE.read_bytes()).decode()
URL = f"data:image/png;base64,{PNG}"
ASK = {"type": "text", "text": ASKED["query"]}


@pytest.mark.parametrize(
    "query",
    [
        {"content": [{"type": "image_url", "image_url": {"url": URL}}, ASK]},
        {"content": [{"type": "image_url", "image_url": URL}, ASK]},
        {"content": [{"type": "image", "image": URL}, ASK]},
        {"content": [{"type": "image", "url": URL}, ASK]},
        {"image": URL, "text": ASKED["query"]},
        {"image": PNG, "text": ASKED["query"]},
        {"image": URL},  # a picture alone is asked about as a line without a prompt is
    ],
)
def test_a_query_may_show_a_picture(served: Served, judge: Judge, query: dict[str, Any]) -> None:
    found = rerank(served, query=query)
    verdict = judge.score(prompt=ASKED["query"], images=[SCENE], responses=ASKED["documents"])
    scores = {each["index"]: each["score"] for each in found["results"]}
    assert [scores[place] for place in range(4)] == pytest.approx(list(verdict.scores), abs=5e-5)


def test_a_query_may_be_a_text_in_an_object(served: Served) -> None:
    plain = {each["index"]: each["score"] for each in rerank(served)["results"]}
    for query in ({"text": ASKED["query"]}, {"content": [ASK]}):
        found = {each["index"]: each["score"] for each in rerank(served, query=query)["results"]}
        assert found == pytest.approx(plain, abs=5e-5)


def test_blocks_around_all_documents_are_a_document_each(served: Served) -> None:
    """As vLLM reads them; within a document they are its parts."""
    around = {"content": [{"type": "text", "text": text} for text in ASKED["documents"]]}
    found = rerank(served, documents=around, return_documents=True)["results"]
    wanted = rerank(served, return_documents=True)["results"]
    assert [(each["index"], each["document"]) for each in found] == [
        (each["index"], each["document"]) for each in wanted
    ]
    assert [each["score"] for each in found] == pytest.approx([each["score"] for each in wanted], abs=5e-5)


def test_one_text_is_one_document(served: Served) -> None:
    (found,) = rerank(served, documents="A star.", return_documents=True)["results"]
    assert (found["index"], found["relevance_score"], found["document"]) == (0, 1.0, {"text": "A star."})


PICTURE_BLOCK = {"type": "image_url", "image_url": {"url": URL}}


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        (["A star.", {"image": URL}], "documents[1] is a picture, which cannot be ranked"),
        ([{"image": PNG, "text": "A star."}], "documents[0] is a picture, which cannot be ranked"),
        ([{"text": "A star.", "video": "a.mp4"}], "documents[0] has 'video', which is not read there"),
        ({"content": [ASK, PICTURE_BLOCK]}, "documents.content[1] is a picture, which cannot be ranked"),
        ([{"content": [ASK]}, {"content": [ASK, PICTURE_BLOCK]}], "documents[1].content[1] is a picture"),
        ([{"content": [{"type": "video_url", "video_url": URL}]}], "documents[0].content[0] is a clip"),
        ([{"content": [{"type": "image", "text": "a"}]}], "documents[0].content[0] is a picture"),
    ],
)
def test_a_document_that_is_no_text_is_refused_and_never_passed_over(
    served: Served, documents: Any, says: str
) -> None:
    answer = served.http.post("/v1/rerank", json={**ASKED, "documents": documents})
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]
    assert "Let the query show the picture" in answer.json()["hint"]


def test_all_paths_of_other_servers_answer(served: Served) -> None:
    assert {served.http.post(path, json=ASKED).status_code for path in ("/rerank", "/v2/rerank")} == {200}


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"documents": []}, 422, "documents must not be empty"),
        ({"documents": ["a"] * 5000}, 422, "5,000 responses"),
        ({"documents": ["a", 3]}, 422, "documents[1] must be a text or an object, found the number 3"),
        ({"documents": ["a", {"text": None}]}, 422, "documents[1].text must be a text, found nothing"),
        ({"documents": [{}]}, 422, "documents[0] has no 'content' or 'image' or 'text'"),
        ({"documents": {"content": []}}, 422, "documents.content must not be empty"),
        ({"documents": {"content": ["a"]}}, 422, "documents.content[0] must be an object, found a text"),
        ({"documents": 3}, 422, "documents must be a list or an object or a text, found the number 3"),
        ({"documents": [{"content": [{"type": "sound"}]}]}, 422, "documents[0].content[0] is no text block"),
        ({"query": None}, 422, "query must be a text or an object, found nothing"),
        (
            {"query": {"content": [{"type": "sound"}]}},
            422,
            "query.content[0] is no text, image or video block",
        ),
        ({"query": {"text": "a", "images": [URL]}}, 422, "query has 'images', which is not read there"),
        ({"query": {"image": URL, "video": URL}}, 422, "query has 'video', which is not read there"),
        ({"query": {"image": "scene.png"}}, 422, "files of the server are not read"),
        ({"top_n": 1.5}, 422, "top_n must be a whole number, found the number 1.5"),
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
