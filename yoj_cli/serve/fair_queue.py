"""What waits, handed out so that nobody can make others wait by asking for more."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.verdicts.verdict import Verdict

Result = Verdict | Failure


@dataclass(eq=False)
class Job:
    """What belongs to one request.

    Attributes:
        client: whose it is.
        options: the limits of its media.
        deliver: called from any thread with places in the request and what came out for them.
        is_over: nobody waits for it any more.
    """

    client: str
    options: MediaOptions
    deliver: Callable[[Sequence[tuple[int, Result]]], None]
    is_over: bool = False


@dataclass(eq=False)
class Work:
    """One group of a request; `place` is its place there."""

    job: Job
    place: int
    group: Group


@dataclass
class FairQueue:
    """One group of each client in turn, and one of each of its requests in turn. To be used under a lock."""

    _clients: OrderedDict[str, OrderedDict[Job, deque[Work]]] = field(default_factory=OrderedDict)
    _n_waiting: int = 0

    def __len__(self) -> int:
        return self._n_waiting

    def put(self, work: Sequence[Work]) -> None:
        for each in work:
            jobs = self._clients.setdefault(each.job.client, OrderedDict())
            jobs.setdefault(each.job, deque()).append(each)
            self._n_waiting += 1

    def take(self) -> Work:
        """The next group.

        Raises:
            KeyError: none waits.
        """
        client, jobs = next(iter(self._clients.items()), (None, None))
        if client is None or jobs is None:
            raise KeyError("nothing waits")
        job, waiting = next(iter(jobs.items()))
        found = waiting.popleft()
        self._n_waiting -= 1
        if waiting:
            jobs.move_to_end(job)
        else:
            del jobs[job]
        if jobs:
            self._clients.move_to_end(client)
        else:
            del self._clients[client]
        return found

    def drop(self, job: Job) -> None:
        """Forget what is left of a request."""
        jobs = self._clients.get(job.client, OrderedDict())
        self._n_waiting -= len(jobs.pop(job, ()))
        if not jobs:
            self._clients.pop(job.client, None)
