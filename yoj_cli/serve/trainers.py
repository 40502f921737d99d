"""`POST /get_reward` (OpenRLHF), `POST /rm` (slime): the reward of one response, judged beside its prompt's others."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from yoj_cli.errors import InputError
from yoj_cli.render.writers import render_json
from yoj_cli.serve.cohort import Share
from yoj_cli.serve.describe import TRAINER_RESPONSES, body_of
from yoj_cli.serve.hang_up import until_gone
from yoj_cli.serve.problems import Problem
from yoj_cli.serve.service import Service
from yoj_cli.serve.shapes import Items

Prompt: TypeAlias = str | Items[dict[str, Any]]
"""A text, or the turns of a chat."""

COHORT_HEADER = "Yoj-Cohort"
"""Of an answer: how many responses were scored together, of how many. "3/4" is an incomplete cohort."""


class OpenRLHFRequest(BaseModel):
    """What OpenRLHF sends to its `--remote_rm_url`: lists of one length, as a rule 1."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"query": ["2 + 2? 4"], "prompts": ["2 + 2?"], "labels": ["4"]}]},
    )  # fmt: skip

    query: Items[str] = Field(min_length=1, description="Prompt and response, as one text.")
    prompts: Items[str] = Field(min_length=1, description="The prompts alone.")


class SlimeRequest(BaseModel):
    """What slime sends to its `--rm-url` under `--rm-type remote_rm`."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"prompt": "What is 2 + 2?", "response": "4", "label": "4"}]}
    )  # fmt: skip

    prompt: Prompt = Field(description="A text, or the turns of a chat.")
    response: str


def trainers_router(service: Service) -> APIRouter:
    """Both endpoints, with cohorts in common."""
    router = APIRouter(tags=["trainers"])

    async def shares_of(request: Request, asked: Sequence[tuple[Prompt, str]]) -> list[Share]:
        """Wait for the others of the cohorts that these prompts and responses belong to.

        Raises:
            Problem: one of them can be in no group, and then none is in a cohort; or a group cannot be scored.
        """
        if service.config.cohort is None and service.description.get("mode") != "single":
            raise Problem(
                409,
                "no-cohort",
                "this judge reads a prompt's responses together, and was not told how many there are",
                hint="Start the server with --cohort N, the responses that the trainer samples for a prompt.",
            )
        with service.errors_as_problems():
            found = [await service.gatherer.read(prompt, text) for prompt, text in asked]
            for ask, text in found:
                service.group({**ask, "responses": [text]}, request)
            waits = [service.gatherer.join(request, *each, place) for place, each in enumerate(found)]
            return await until_gone(request, _all(waits))

    @router.post(
        "/get_reward",
        summary="Rewards for OpenRLHF",
        openapi_extra={"requestBody": body_of(OpenRLHFRequest)},
        responses=TRAINER_RESPONSES,
        response_class=Response,
    )
    async def get_reward(request: Request) -> Response:
        """`rewards` are the judge's scores, `scores` P(best) in its cohort (OpenRLHF filters by them, from 0 to 1)."""
        asked = await service.read_json(request, OpenRLHFRequest)
        if len(asked.query) != len(asked.prompts):
            found = f"{len(asked.query)} in 'query' and {len(asked.prompts)} in 'prompts'"
            raise service.problem(InputError(f"the lists must be of one length, found {found}"))
        service.add_groups(request, len(asked.query) - 1)
        with service.errors_as_problems():
            pairs = [
                (prompt, _response_of(query, prompt))
                for query, prompt in zip(asked.query, asked.prompts, strict=True)
            ]
        shares = await shares_of(request, pairs)
        answer = {
            "rewards": [share.score for share in shares],
            "scores": [share.p_best for share in shares],
            "extra_logs": {"cohort_size": [float(share.n) for share in shares]},
        }
        return _answer(request, answer, shares)

    @router.post(
        "/rm",
        summary="A reward for slime",
        openapi_extra={"requestBody": body_of(SlimeRequest)},
        responses=TRAINER_RESPONSES,
        response_class=Response,
    )
    async def rm(request: Request) -> Response:
        """The judge's score, as a bare number."""
        asked = await service.read_json(request, SlimeRequest)
        (share,) = await shares_of(request, [(asked.prompt, asked.response)])
        return _answer(request, share.score, [share])

    return router


def _response_of(query: str, prompt: str) -> str:
    """What follows the prompt. A begin-of-sequence token may have been decoded in front of it."""
    if not prompt:
        return query
    _, found, response = query.partition(prompt)
    if not found:
        raise InputError(
            "an entry of 'query' does not hold its prompt", hint="'query' is prompt and response as one text."
        )
    return response


async def _all(waits: Sequence[Coroutine[Any, Any, Share]]) -> list[Share]:
    """All shares; where one fails, nobody waits for the others any more."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _answer(request: Request, content: Any, shares: Sequence[Share]) -> Response:
    smallest = min(shares, key=lambda share: share.n - share.size)
    request.state.log["cohort"] = f"{smallest.n}/{smallest.size}"
    return Response(
        render_json(content),
        media_type="application/json",
        headers={COHORT_HEADER: f"{smallest.n}/{smallest.size}"},
    )
