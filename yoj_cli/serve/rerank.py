"""Reranking as Cohere's, Jina's and vLLM's clients ask for it: documents are responses, the query is the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, FailFast, Field, JsonValue

from yoj_cli.render.writers import render_json
from yoj_cli.serve.describe import RERANK_RESPONSES, body_of
from yoj_cli.serve.hang_up import until_gone
from yoj_cli.serve.service import Service
from yoj_cli.verdicts.record import to_record

PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")

EXAMPLE: dict[str, JsonValue] = {
    "query": "What is the capital of France?",
    "documents": ["Paris.", "Lyon, since 1789.", "France is a country."],
    "top_n": 2,
}


class Content(BaseModel):
    """A query or document of several blocks, as in a chat's turn."""

    model_config = ConfigDict(extra="allow")

    content: Annotated[list[dict[str, Any]], FailFast()] = Field(min_length=1)


class Document(BaseModel):
    """A document as Cohere's and Jina's clients may wrap it."""

    model_config = ConfigDict(extra="allow")

    text: str


class RerankRequest(BaseModel):
    """What to rank and against what. Other fields of other servers are passed over."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [EXAMPLE]})

    model: str | None = Field(None, description="Another judge than the one that is loaded is refused.")
    query: str | Content = Field(
        description='A text, or {"content": [blocks]} with pictures: {"type": "image_url", '
        '"image_url": {"url": "data:image/png;base64,…"}}.'
    )
    documents: Annotated[list[str | Document | Content], FailFast()] = Field(
        min_length=1, description="Texts; pictures belong into the query."
    )
    top_n: int | None = Field(None, ge=0, description="How many to return, best first; 0 or none for all.")
    return_documents: bool = False


def to_group(request: RerankRequest) -> dict[str, Any]:
    """The request as a record of the input format: the query is what the user says, each document a response."""
    responses = [_text_of(document) for document in request.documents]
    if isinstance(request.query, str):
        return {"prompt": request.query, "responses": responses}
    return {"messages": [{"role": "user", "content": request.query.content}], "responses": responses}


def to_answer(
    request: RerankRequest, record: Mapping[str, Any], *, model: str, n_tokens: int
) -> dict[str, Any]:
    """The answer, best first; documents that tie come in the order of the request.

    Args:
        record: the group's output line. Its P(best) is each document's `relevance_score`, beside the raw `score`.
        n_tokens: read for the group.
    """
    places: Sequence[int] = range(len(request.documents))
    best_first = sorted(places, key=lambda place: (record["ranks"][place], place))
    results = []
    for place in best_first[: request.top_n or None]:
        result = {
            "index": place,
            "relevance_score": record["p_best"][place],
            "score": record["scores"][place],
        }
        if request.return_documents:
            result["document"] = _document(request.documents[place])
        results.append(result)
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"id": f"rerank-{uuid4().hex}", "model": model, "usage": usage, "results": results}


def _text_of(document: str | Document | Content) -> Any:
    """What stands among the record's responses; blocks that are no text are for the record's parser to refuse."""
    if isinstance(document, str):
        return document
    if isinstance(document, Document):
        return document.text
    if all(isinstance(block.get("text"), str) for block in document.content):
        return " ".join(block["text"] for block in document.content)
    return document.content


def _document(document: str | Document | Content) -> dict[str, Any]:
    return {"text": document} if isinstance(document, str) else document.model_dump()


def rerank_router(service: Service) -> APIRouter:
    """The endpoint, under the three paths that clients know."""
    router = APIRouter(tags=["groups"])

    async def rerank(request: Request) -> Response:
        """Rank documents by how well they answer the query. `relevance_score` is P(best), `score` is the judge's.

        All documents are read together in one pass, so that a score is about these documents and no others.
        """
        asked = await service.read_json(request, RerankRequest)
        service.check_model(asked.model)
        group = service.group(to_group(asked), request)
        results = service.score([group], client=request.state.client)
        await request.state.at_end.enter_async_context(aclosing(results))
        verdict = service.verdict(await until_gone(request, anext(results)), request)
        answer = to_answer(asked, to_record(verdict, {}), model=service.name, n_tokens=verdict.n_tokens)
        return Response(render_json(answer), media_type="application/json")

    for path in PATHS:
        router.post(
            path,
            summary="Rerank documents",
            openapi_extra={"requestBody": body_of(RerankRequest)},
            responses=RERANK_RESPONSES,
            response_class=Response,
            include_in_schema=path == PATHS[0],
        )(rerank)
    return router
