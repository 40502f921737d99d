"""`POST /v1/groups`: groups in, verdicts out, as `yoj score` reads and writes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from yoj_cli.errors import DeviceError, OutOfMemoryError
from yoj_cli.groups import Failure
from yoj_cli.render.writers import render_json
from yoj_cli.serve.body import LINES
from yoj_cli.serve.describe import GROUPS_BODY, GROUPS_RESPONSES
from yoj_cli.serve.fair_queue import Result
from yoj_cli.serve.hang_up import until_gone
from yoj_cli.serve.service import Service


class AddressOptions(BaseModel):
    """What stands in the address; a name that is not here is refused, or a misspelled one would do nothing."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        None, description="The judge that is meant; where another is loaded, the answer is 409."
    )
    timeout_s: float | None = Field(
        None, ge=1, le=86_400, description="Time for the whole request, in seconds."
    )


def groups_router(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter(tags=["groups"])

    @router.post(
        "/v1/groups",
        summary="Score groups of responses",
        openapi_extra={"requestBody": GROUPS_BODY},
        responses=GROUPS_RESPONSES,
        response_class=Response,
    )
    async def score(request: Request, options: Annotated[AddressOptions, Query()]) -> Response:
        """One record, a list of records, or one a line, with the fields of an input line of `yoj score`.

        A record alone is answered by its record with the verdict, several by one a line in their order, each as soon
        as it is there. A record that cannot be scored is a 4xx where it comes alone, else a line with `error`.
        """
        service.check_model(options.model)
        body = await service.read(request)
        results = service.score(body.items, client=request.state.client, timeout_s=options.timeout_s)
        await request.state.at_end.enter_async_context(aclosing(results))
        first = await until_gone(request, _next(results))
        if isinstance(first, Failure) and (body.is_one or _is_of_device(first)):
            service.count(first, request)
            raise service.problem(first.error)
        if body.is_one and first is not None:
            return Response(render_json(service.record(first, request)), media_type="application/json")
        return StreamingResponse(_lines(service, request, first, results), media_type=LINES[0])

    return router


async def _next(results: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(results, None)


def _is_of_device(failure: Failure) -> bool:
    return isinstance(failure.error, DeviceError) and not isinstance(failure.error, OutOfMemoryError)


async def _lines(
    service: Service, request: Request, first: Result | None, rest: AsyncGenerator[Result, None]
) -> AsyncIterator[str]:
    if first is not None:
        yield render_json(service.record(first, request)) + "\n"
    async for result in rest:
        yield render_json(service.record(result, request)) + "\n"
