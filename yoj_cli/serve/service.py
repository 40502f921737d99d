"""What all endpoints share: the judge, its state, and the way of a request's groups through it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.serve import ServeConfig
from yoj_cli.errors import UnexpectedError, YojError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import Downloaded, MediaOptions
from yoj_cli.serve.access_log import AccessLog
from yoj_cli.serve.admission import Admission
from yoj_cli.serve.body import (
    LINES,
    ONE,
    Body,
    Reader,
    check_type,
    in_thread,
    parse_body,
    parse_document,
    read_body,
)
from yoj_cli.serve.fair_queue import Job, Result
from yoj_cli.serve.gatherer import Gatherer
from yoj_cli.serve.metrics import Metrics
from yoj_cli.serve.privacy import Privacy
from yoj_cli.serve.problems import Problem, problem_of
from yoj_cli.serve.results import Results, too_late
from yoj_cli.serve.shapes import first_wrong
from yoj_cli.verdicts.record import to_error_record, to_record
from yoj_cli.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from yoj_cli.scoring.judge import Judge
    from yoj_cli.serve.scheduler import Scheduler

Shape = TypeVar("Shape", bound=BaseModel)
State = Literal["loading", "ready", "lost", "stopping"]

DECODE_TIMEOUT_S = 20.0
"""For one clip, or one download."""

SEE_API = "/openapi.json says what is read."

WHY_NOT = {
    "loading": "the judge is being loaded",
    "lost": "the device cannot be used any more",
    "stopping": "the server is about to end",
}


class Service:
    """A judge behind a queue, and who may ask it.

    Attributes:
        state: what `/ready` says.
        admission: what the open requests hold.
        metrics: what `/metrics` says.
        gatherer: the cohorts of trainers that ask for one response at a time.
    """

    def __init__(self, config: ServeConfig, judge: JudgeConfig, media: InputConfig) -> None:
        self.config, self.media = config, media
        self.keys = config.read_keys()
        self.model = str(judge.resolved().model)
        self.name = config.name or (
            os.path.basename(self.model.rstrip("/")) if os.path.isdir(self.model) else self.model
        )
        self.state: State = "loading"
        self.admission = Admission(config)
        self.metrics = Metrics()
        self.gatherer = Gatherer(config, media, self.admission, self._score_cohort)
        self.description: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.log = AccessLog()
        self._open: set[Results] = set()
        self._scheduler: Scheduler | None = None
        self._is_closed, self._closing = False, threading.Lock()
        self._options = MediaOptions.within(
            media,
            allow_remote=media.allow_remote_media,
            allow_private=media.allow_private_media,
            max_download_bytes=int(media.max_download_mb * (1 << 20)),
            max_total_download_bytes=min(
                int(media.max_total_download_gb * (1 << 30)), config.max_waiting_bytes
            ),
            timeout_s=DECODE_TIMEOUT_S,
        )
        self._privacy = Privacy(media.media_root)

    def start(self, judges: Sequence[Judge]) -> None:
        """Answer from now on, with the same judge on one or several devices."""
        from yoj_cli.checkpoint.content_hash import content_hash  # and torch with it
        from yoj_cli.serve.scheduler import Scheduler

        first = judges[0]
        self._privacy.hide(first.checkpoint.folder)
        self.settings = {"content": content_hash(first.checkpoint), "max_tokens": first.max_tokens}
        self.description = {**self._privacy.description(first.description), "model": self.name}
        with self._closing:
            if self._is_closed:  # while the judge was loaded
                return
            self._scheduler = Scheduler(judges, lost=self._lose)
        self.metrics.watch(self.admission, self._scheduler, [judge.engine for judge in judges])
        if self.state == "loading":
            self.state = "ready"

    def stop(self) -> None:
        """Take no more requests; those that were accepted go on."""
        self.state = "stopping"

    def give_up(self) -> None:
        """Answer what is open with what there is; groups that are not scored are failures."""
        for results in self._open:
            results.end()

    def close(self) -> None:
        """Forget what waits."""
        self.gatherer.close()
        with self._closing:
            self._is_closed = True
        if self._scheduler is not None:
            self._scheduler.close()

    def check_ready(self) -> None:
        """See that requests are taken.

        Raises:
            Problem: they are not, now.
        """
        if self.state != "ready":
            headers = {"Retry-After": "5"} | ({"Connection": "close"} if self.state == "stopping" else {})
            raise Problem(503, "not-ready", WHY_NOT[self.state], hint="Try again later.", headers=headers)

    def check_loaded(self) -> None:
        """See that the judge is known.

        Raises:
            Problem: it is being loaded.
        """
        if not self.description:
            self.check_ready()

    def check_model(self, model: str | None) -> None:
        """See that a request means the judge that is loaded.

        Raises:
            Problem: it means another.
        """
        if model not in (None, self.name, self.model):
            raise Problem(
                409,
                "other-judge",
                f"{model[:200]!r} is asked for, and {self.name!r} is loaded",
                hint=f"Ask for {self.name!r} or for none, or call the server that has the other judge.",
            )

    async def read(self, request: Request) -> Body:
        """The records of a request's body, for which there is room from then on.

        Raises:
            Problem: they cannot be read, or not now.
        """
        self.check_ready()
        reservation = request.state.at_end.enter_context(self.admission.open(request.state.client))
        kind = check_type(request, ONE, *LINES)
        raw = await read_body(request, reservation, timeout_s=self.config.body_timeout)
        body = await parse_body(raw, kind, self.media, reservation)
        self.check_ready()  # it may have taken a while
        reservation.add_groups(len(body.items))
        request.state.log.update(bytes_in=reservation.n_bytes, groups=len(body.items), failed=0)
        self._log_prompts(request, body.items)
        return body

    async def read_json(self, request: Request, shape: type[Shape]) -> Shape:
        """A request's body as one JSON object of a shape, for one group of which there is room from then on.

        Raises:
            Problem: it cannot be read, is of another shape, or there is no room now.
        """
        self.check_ready()
        reservation = request.state.at_end.enter_context(self.admission.open(request.state.client))
        check_type(request, ONE)
        raw = await read_body(request, reservation, timeout_s=self.config.body_timeout)
        document = await in_thread(len(raw), parse_document, raw, self.media)
        try:
            found = await in_thread(len(raw), shape.model_validate, document)
        except ValidationError as error:
            raise Problem(422, "bad-request", first_wrong(error, document), hint=SEE_API) from error
        self.check_ready()
        reservation.add_groups(1)
        request.state.log.update(bytes_in=reservation.n_bytes, groups=1, failed=0)
        return found

    def add_groups(self, request: Request, n: int) -> None:
        """Take room for more groups than a request's first.

        Raises:
            Problem: there is none.
        """
        reservation = request.state.at_end.enter_context(self.admission.open(request.state.client))
        reservation.add_groups(n)
        request.state.log["groups"] += n

    def group(self, record: Mapping[str, Any], request: Request) -> Group:
        """A record that was made of a request as a group.

        Raises:
            Problem: it is none, or too much for this server.
        """
        found = Reader(self.media).read(dict(record), "", "1")
        if isinstance(found, Failure):
            raise self.problem(found.error)
        self._log_prompts(request, [found])
        return found

    def _log_prompts(self, request: Request, items: Sequence[Group | Failure]) -> None:
        """Have the prompts written into the log, where that is asked for."""
        if self.config.log_prompts:
            prompts = [item.prompt for item in items if isinstance(item, Group)]
            request.state.log.setdefault("prompts", []).extend(prompts)

    def verdict(self, result: Result, request: Request) -> Verdict:
        """What came out for a group that was asked about alone; counted.

        Raises:
            Problem: it could not be scored.
        """
        self.count(result, request)
        if isinstance(result, Failure):
            raise self.problem(result.error)
        return result

    def problem(self, error: YojError) -> Problem:
        """What a request is told that failed with this error."""
        return problem_of(self._privacy.error(error))

    @contextmanager
    def errors_as_problems(self) -> Iterator[None]:
        """Around what is done for one request: our errors leave as what it is told."""
        try:
            yield
        except YojError as error:
            raise self.problem(error) from error

    async def _score_cohort(self, prompt: str, responses: Sequence[str]) -> Sequence[tuple[float, float]]:
        """The responses of a cohort, scored as one group.

        Args:
            prompt: the fields of a record that ask, as JSON.
        """
        is_whole = len(responses) == self.gatherer.cohorts.size
        self.metrics.cohorts.labels("complete" if is_whole else "incomplete").inc()
        found = Reader(self.media).read({**json.loads(prompt), "responses": responses}, "", "1")
        async with aclosing(self.score([found], client="cohorts")) as results:
            result = await anext(results)
        self.count(result)
        if isinstance(result, Failure):
            raise result.error
        return list(zip(result.scores, result.p_best, strict=True))

    async def score(
        self, items: Sequence[Group | Failure], *, client: str, timeout_s: float | None = None
    ) -> AsyncGenerator[Result, None]:
        """A result for each group, in order; closed early, the rest is never scored.

        Args:
            client: whose turn in the queue they take.
            timeout_s: what is not scored by then is a failure.
        """
        assert self._scheduler is not None
        limit_s = min(timeout_s or self.config.timeout, self.config.timeout)
        deadline = time.monotonic() + limit_s
        results = Results(items)
        options = replace(self._options, downloaded=Downloaded())  # counted a request
        job = Job(client, options, results.deliver)
        self._open.add(results)
        self._scheduler.submit(job, {n: item for n, item in enumerate(items) if isinstance(item, Group)})
        try:
            for place, item in enumerate(items):
                found = await results.get(place, deadline - time.monotonic())
                yield found if found is not None else too_late(item, limit_s, has_ended=results.has_ended)
        finally:
            self._open.discard(results)
            self._scheduler.cancel(job)

    def record(self, result: Result, request: Request) -> dict[str, Any]:
        """A result as a line of `yoj score`; counted."""
        self.count(result, request)
        if isinstance(result, Failure):
            return to_error_record(result.record, self._privacy.error(result.error))
        return to_record(result, self.description)

    def count(self, result: Result, request: Request | None = None) -> None:
        """Count a result in `/metrics` and in a request's line of the log, which also tells of a bug."""
        self.metrics.groups.labels("failed" if isinstance(result, Failure) else "scored").inc()
        if isinstance(result, Failure):
            if request is not None:
                log = request.state.log
                log["failed"] = log.get("failed", 0) + 1
            if isinstance(result.error, UnexpectedError):
                request_id = "" if request is None else request.state.request_id
                self.log.error(request_id, result.error.__cause__ or result.error)

    def note(self, client: tuple[str, int] | None, request_id: str, status: int, n_bytes: int) -> None:
        """Count and log an answer to what never became a request here: its method and path are not known."""
        self.metrics.requests.labels("other", status).inc()
        scope = {"client": client, "method": "", "path": ""}
        self.log.write(scope, request_id, status, 0.0, n_bytes, {})

    def _lose(self, error: YojError) -> None:
        if self.state == "ready":
            self.state = "lost"
