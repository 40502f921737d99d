"""`GET /health`, `/ready` and `/metrics`: for whoever looks after the server."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from yoj_cli.serve.describe import NOT_READY_RESPONSES
from yoj_cli.serve.service import Service


def health_router(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(tags=["server"])

    @router.get("/health", summary="Whether the server is alive")
    async def health() -> dict[str, str]:
        """200 as long as the process answers at all, also while the judge is loaded."""
        return {"status": "alive"}

    @router.get("/ready", summary="Whether groups are scored now", responses=NOT_READY_RESPONSES)
    async def ready() -> dict[str, str]:
        """503 while the judge is loaded, when its device is lost, and when the server is about to end."""
        service.check_ready()
        return {"status": "ready"}

    @router.get(
        "/metrics",
        summary="Counters, as Prometheus reads them",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Requests, groups, what waits, and how full the passes are."""
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4")

    return router
