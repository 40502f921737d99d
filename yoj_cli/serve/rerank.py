"""Reranking as Cohere's, Jina's and vLLM's clients ask for it: documents are responses, the query is the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from yoj_cli.render.writers import render_json
from yoj_cli.serve.describe import RERANK_RESPONSES, body_of
from yoj_cli.serve.hang_up import until_gone
from yoj_cli.serve.rerank_shapes import RerankRequest
from yoj_cli.serve.service import Service
from yoj_cli.verdicts.record import to_record

PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")


def to_answer(
    request: RerankRequest, record: Mapping[str, Any], *, model: str, n_tokens: int
) -> dict[str, Any]:
    """The answer, best first; documents that tie come in the order of the request.

    Args:
        record: the group's output line. Its P(best) is each document's `relevance_score`, beside the raw `score`.
        n_tokens: read for the group.
    """
    places: Sequence[int] = range(len(record["ranks"]))
    best_first = sorted(places, key=lambda place: (record["ranks"][place], place))
    results = []
    for place in best_first[: request.top_n or None]:
        result = {
            "index": place,
            "relevance_score": record["p_best"][place],
            "score": record["scores"][place],
        }
        if request.return_documents:
            result["document"] = request.returned(place)
        results.append(result)
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"id": f"rerank-{uuid4().hex}", "model": model, "usage": usage, "results": results}


def rerank_router(service: Service) -> APIRouter:
    """The endpoint, under the three paths that clients know."""
    router = APIRouter(tags=["groups"])

    async def rerank(request: Request) -> Response:
        """Rank documents by how well they answer the query. `relevance_score` is P(best), `score` is the judge's.

        All documents are read together in one pass, so that a score is about these documents and no others.
        """
        asked = await service.read_json(request, RerankRequest)
        service.check_model(asked.model)
        with service.errors_as_problems():
            record = asked.to_record()
        group = service.group(record, request)
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
