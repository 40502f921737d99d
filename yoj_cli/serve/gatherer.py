"""Responses that come one a request, each with its prompt as a trainer writes it: what it asks, and who waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from yoj_cli.config.limits import Limits
from yoj_cli.config.serve import ServeConfig
from yoj_cli.errors import UsageError
from yoj_cli.serve.admission import Admission
from yoj_cli.serve.cohort import Cohorts, ScoreGroup, Share
from yoj_cli.serve.prompt_pattern import PromptPattern


class Gatherer:
    """The cohorts of a server, as its requests join them.

    Args:
        score: scores one group, whose prompt is the fields of a record that ask, as JSON.
    Raises:
        UsageError: no group may be as large as a cohort.
    """

    def __init__(self, config: ServeConfig, limits: Limits, admission: Admission, score: ScoreGroup) -> None:
        if config.cohort is not None and config.cohort > limits.max_responses:
            raise UsageError(
                f"a group may have {limits.max_responses} responses",
                where=f"--cohort {config.cohort}",
                hint="Raise --max-responses, or give the responses that the trainer samples for a prompt.",
            )
        self.cohorts = Cohorts(score, size=config.cohort or 1, timeout_s=config.cohort_timeout)
        self._admission, self._end = admission, config.response_end
        self._pattern = None if config.prompt_pattern is None else PromptPattern(config.prompt_pattern)

    def close(self) -> None:
        """Give up what is searched."""
        if self._pattern is not None:
            self._pattern.close()

    async def read(self, prompt: str | list[dict[str, Any]], response: str) -> tuple[dict[str, Any], str]:
        """The fields of a record that ask what a trainer's prompt asks, and the response without what follows it.

        Raises:
            InputError: the prompt does not match the pattern that says where the question is.
        """
        text = response.partition(self._end)[0] if self._end else response
        if not isinstance(prompt, str):
            return {"prompt": prompt}, text
        return {"prompt": prompt if self._pattern is None else await self._pattern.find(prompt)}, text

    async def join(self, request: Request, ask: Mapping[str, Any], response: str, place: int) -> Share:
        """The score of one response beside its prompt's others.

        Args:
            ask: as `read` gave it.
            place: of the response in its request, which with the request's id tells a retry.
        Raises:
            YojError: the group cannot be scored.
        """
        prompt = json.dumps(ask, sort_keys=True)
        client, key = request.state.client, request.state.log.get("key")  # its number, from `Guard`
        has_id = "x-request-id" in request.headers
        return await self.cohorts.join(
            prompt,
            response,
            f"{request.state.request_id}/{place}" if has_id else None,
            owner="" if key is None else str(key),
            keep=lambda: self._admission.keep(client, len(prompt) + len(response)),
        )
