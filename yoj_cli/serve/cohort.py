"""A barrier for trainers that send one response a request: a prompt's responses wait for one another.

OpenRLHF and slime ask for the reward of one response at a time, and a group's members come over as many connections.
Here they are gathered by prompt until the group is whole, or for as long as the server was told to wait; then the
group is scored as one, and each connection gets its own score.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from yoj_cli.errors import InputError

KEPT_S = 900.0
"""How long an answered cohort is remembered for retries. OpenRLHF tries 5 times, each for 180 s; slime for 120 s."""

MAX_KEPT = 4096
"""Answered cohorts that are remembered; the oldest is forgotten first."""

ScoreGroup = Callable[[str, Sequence[str]], Awaitable[Sequence[tuple[float, float]]]]
"""A prompt and its responses (N,) to their scores and P(best) (N,)."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one member of a cohort is told.

    Attributes:
        p_best: of its group.
        n: responses that were scored together.
        size: how many they should have been.
    """

    score: float
    p_best: float
    n: int
    size: int

    @property
    def is_complete(self) -> bool:
        return self.n == self.size


Keep = Callable[[], Callable[[], None]]
"""Called when nobody waits any more for a response that is still to be scored; gives what is called when it is."""


@dataclass(eq=False, slots=True)
class _Member:
    """One response of a cohort, and who asked for it.

    Attributes:
        text: digest of the response, with its prompt.
        n_waiting: open requests for it; a retry while the first is still open is told by its request id alone.
        was_answered: a request got the score, so that the same text without a request id is another completion.
        is_kept: its room was kept when its client hung up.
    """

    text: bytes
    request_id: str | None
    share: asyncio.Future[Share]
    n_waiting: int = 0
    was_answered: bool = False
    is_kept: bool = False

    def is_abandoned(self) -> bool:
        return not self.n_waiting and not self.was_answered


@dataclass(eq=False, slots=True)
class _Cohort:
    """The members of a group.

    Attributes:
        key: digest of the prompt and of whose it is.
        prompt, responses: the texts themselves, until they are scored: what is remembered for retries may be many.
    """

    key: bytes
    prompt: str
    responses: list[str] = field(default_factory=list)
    members: list[_Member] = field(default_factory=list)
    is_closed: bool = False
    timer: asyncio.TimerHandle | None = None
    closed_at: float = 0.0


class Cohorts:
    """Cohorts by prompt and owner; for one event loop.

    Two requests with one text are told apart so: under one request id they are one completion and its retry; without
    ids, a second one is a retry where the first one's connection has gone without an answer, else a duplicate
    completion, which takes a place of its own.

    Args:
        score: scores one group; what it raises is raised for every member.
        size: responses of one prompt that make a cohort whole.
        timeout_s: how long the first of a cohort waits for the others; below the client's own timeout.
    """

    def __init__(self, score: ScoreGroup, *, size: int, timeout_s: float, kept_s: float = KEPT_S) -> None:
        self._score, self.size, self._timeout_s, self._kept_s = score, size, timeout_s, kept_s
        self._open: dict[bytes, _Cohort] = {}
        self._closed: OrderedDict[_Cohort, None] = OrderedDict()
        self._by_request: dict[tuple[bytes, str], _Member] = {}
        self._by_text: dict[bytes, list[_Member]] = {}
        self._scoring: set[asyncio.Task[None]] = set()

    @property
    def n_waiting(self) -> int:
        """Responses that wait for others of their prompt."""
        return sum(len(cohort.members) for cohort in self._open.values())

    async def join(
        self,
        prompt: str,
        response: str,
        request_id: str | None = None,
        *,
        owner: str = "",
        keep: Keep = lambda: lambda: None,
    ) -> Share:
        """Wait for the score of one response. Cancel it when its client has hung up.

        Args:
            owner: clients of another owner are in other cohorts.
            keep: see `Keep`.
        Raises:
            InputError: the request id was used for another response to this prompt.
            YojError: the group cannot be scored.
        """
        self._forget_old()
        key = _digest(owner, prompt)
        text = _digest(owner, prompt, response)
        member = self._find(key, text, request_id)
        if member is None:
            member = _Member(text, request_id, asyncio.get_running_loop().create_future())
            self._add(member, key, prompt, response)
        member.n_waiting += 1
        try:
            # The member outlives its connection: the others still need its response, and it may be asked for again.
            share = await asyncio.shield(member.share)
            member.was_answered = True
            return share
        finally:
            member.n_waiting -= 1
            if not (member.n_waiting or member.is_kept or member.share.done()):
                member.is_kept, give_back = True, keep()
                member.share.add_done_callback(lambda _: give_back())

    def close_all(self) -> None:
        """Score what has come so far: nobody else will."""
        for cohort in list(self._open.values()):
            self._close(cohort)

    def _find(self, key: bytes, text: bytes, request_id: str | None) -> _Member | None:
        """The member that this request asks for again, if it does."""
        if request_id is None:
            same = self._by_text.get(text, [])
            return next((one for one in same if one.request_id is None and one.is_abandoned()), None)
        member = self._by_request.get((key, request_id))
        if member is not None and member.text != text:
            raise InputError(
                f"the request id {request_id!r} was used for another response to this prompt",
                hint="Send an id of its own with each completion, and the same one only to retry it.",
            )
        return member

    def _add(self, member: _Member, key: bytes, prompt: str, response: str) -> None:
        cohort = self._open.get(key)
        if cohort is None:
            cohort = self._open[key] = _Cohort(key, prompt)
            cohort.timer = asyncio.get_running_loop().call_later(self._timeout_s, self._close, cohort)
        member.share.add_done_callback(_retrieve)
        cohort.members.append(member)
        cohort.responses.append(response)
        self._by_text.setdefault(member.text, []).append(member)
        if member.request_id is not None:
            self._by_request[key, member.request_id] = member
        if len(cohort.members) == self.size:
            self._close(cohort)

    def _close(self, cohort: _Cohort) -> None:
        """Take no more members, and score."""
        if cohort.is_closed:
            return
        cohort.is_closed, cohort.closed_at = True, time.monotonic()
        if cohort.timer is not None:
            cohort.timer.cancel()
        del self._open[cohort.key]
        self._closed[cohort] = None
        task = asyncio.get_running_loop().create_task(self._answer(cohort))
        self._scoring.add(task)
        task.add_done_callback(self._scoring.discard)

    async def _answer(self, cohort: _Cohort) -> None:
        n, prompt, responses = len(cohort.members), cohort.prompt, cohort.responses
        cohort.prompt, cohort.responses = "", []
        try:
            scores = await self._score(prompt, responses)
            shares = [Share(float(score), float(p_best), n, self.size) for score, p_best in scores]
            answers = list(zip(cohort.members, shares, strict=True))
        except asyncio.CancelledError:
            for member in cohort.members:
                member.share.cancel()
            raise
        except Exception as error:
            self._forget(cohort)  # a retry may succeed, and is asked anew
            for member in cohort.members:
                member.share.set_exception(error)
            return
        for member, share in answers:
            member.share.set_result(share)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self._kept_s
        while self._closed:
            cohort = next(iter(self._closed))
            is_answered = cohort.members[0].share.done()
            if not is_answered or (cohort.closed_at > oldest and len(self._closed) <= MAX_KEPT):
                return
            self._forget(cohort)

    def _forget(self, cohort: _Cohort) -> None:
        self._closed.pop(cohort, None)
        for member in cohort.members:
            same = [one for one in self._by_text.get(member.text, []) if one is not member]
            if same:
                self._by_text[member.text] = same
            else:
                self._by_text.pop(member.text, None)
            if member.request_id is not None:
                self._by_request.pop((cohort.key, member.request_id), None)


def _digest(*texts: str) -> bytes:
    """Stands for these texts."""
    found = blake2b(digest_size=32)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.digest()


def _retrieve(share: asyncio.Future[Share]) -> None:
    """Look at an error that nobody waits for any more; asyncio would complain."""
    if not share.cancelled():
        share.exception()
