"""`GET /v1/models`: which judge is loaded, as OpenAI's clients ask for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from yoj_cli.serve.describe import MODELS_RESPONSES
from yoj_cli.serve.service import Service


def models_router(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter(tags=["server"])

    @router.get("/v1/models", summary="The judge that is loaded", responses=MODELS_RESPONSES)
    async def models() -> dict[str, Any]:
        """`judge` is what every verdict says of its judge; it is all that changes a score, beside the group.

        `settings` has a hash of the judge's files, and the length of the longest group that is taken, in tokens.
        """
        service.check_loaded()
        return {
            "object": "list",
            "data": [
                {
                    "id": service.name,
                    "object": "model",
                    "judge": service.description,
                    "settings": service.settings,
                }
            ],
        }

    return router
