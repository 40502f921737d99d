"""The endpoints together, with one way of saying what is wrong."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from yoj_cli.serve.groups import groups_router
from yoj_cli.serve.guard import BUG, HUNG_UP, Guard
from yoj_cli.serve.health import health_router
from yoj_cli.serve.models import models_router
from yoj_cli.serve.problems import MEDIA_TYPE, Problem
from yoj_cli.serve.rerank import rerank_router
from yoj_cli.serve.service import SEE_API, Service
from yoj_cli.serve.trainers import trainers_router
from yoj_cli.serve.type_in import page_router
from yoj_cli.version import __version__

ROUTERS = (groups_router, rerank_router, trainers_router, models_router, health_router, page_router)
"""Each makes its endpoints for a service."""


def build_app(service: Service) -> Guard:
    """The ASGI application of a service."""
    app = FastAPI(
        title="yoj serve",
        version=__version__,
        summary="Which of N responses is best, in one forward pass.",
        docs_url=None,  # its page would come from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy with TLS it would lead to http, and the key with it
    )
    for router in ROUTERS:
        app.include_router(router(service))
    for kind, handler in (
        (Problem, _answer_problem),
        (HTTPException, _refuse_request),
        (RequestValidationError, _refuse_options),
        (ClientDisconnect, _note_hang_up),
        (Exception, _answer_bug),
    ):
        app.add_exception_handler(kind, handler)
    return Guard(app, service)


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return Response(
        error.body(request.state.request_id), error.status, headers=error.all_headers(), media_type=MEDIA_TYPE
    )


async def _refuse_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {404: "not-found", 405: "wrong-method"}.get(error.status_code, "bad-request")
    what = f"{request.method[:20]} {request.url.path[:100]}: {error.detail}"
    is_slash = error.status_code == 404 and request.url.path.endswith("/")
    hint = "Leave out the slash at the end." if is_slash else SEE_API
    return await _answer_problem(
        request, Problem(error.status_code, kind, what, hint=hint, headers=error.headers)
    )


async def _refuse_options(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name, is_unknown = first["loc"][-1], first["type"] == "extra_forbidden"
    what = f"there is no option {str(name)[:60]!r}" if is_unknown else f"{name}: {first['msg']}"
    return await _answer_problem(request, Problem(422, "bad-request", what, hint=SEE_API))


async def _note_hang_up(request: Request, error: Exception) -> Response:
    return Response(status_code=HUNG_UP)  # nobody gets it; the log says it


async def _answer_bug(request: Request, error: Exception) -> Response:
    return await _answer_problem(request, BUG)
