"""How much may wait: groups and bytes of all requests together. Used by the event loop alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType

from yoj_cli.config.serve import ServeConfig, share_of
from yoj_cli.serve.problems import Problem

RETRY_AFTER_S = 2


class Admission:
    """Counts what all open requests hold, and what is still to be scored of those whose clients have gone.

    Attributes:
        n_requests, n_groups, n_bytes: held now.
        of_client: the same groups and bytes by ("groups" or "bytes", client), without zeros.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self.n_requests = self.n_groups = self.n_bytes = 0
        self.of_client: Counter[tuple[str, str]] = Counter()

    def open(self, client: str) -> Reservation:
        """What one request of a client holds, to be used in a `with` block."""
        return Reservation(self, client)

    def keep(self, client: str, n_bytes: int) -> Callable[[], None]:
        """Count one group on, whose request ends before it is scored; there was room for it already.

        Returns:
            What gives its room back.
        """
        reservation = Reservation(self, client)
        reservation.count("groups", 1)
        reservation.count("bytes", n_bytes)
        return reservation.give_back


class Reservation:
    """What one request holds; given back at the end of its `with` block."""

    def __init__(self, admission: Admission, client: str) -> None:
        self._admission, self._client = admission, client
        self.n_groups = self.n_bytes = 0

    def __enter__(self) -> Reservation:
        self._admission.n_requests += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._admission.n_requests -= 1
        self.give_back()

    def give_back(self) -> None:
        """Hold nothing any more."""
        total = self._admission
        total.n_groups -= self.n_groups
        total.n_bytes -= self.n_bytes
        for what, held in (("groups", self.n_groups), ("bytes", self.n_bytes)):
            total.of_client[what, self._client] -= held
            if not total.of_client[what, self._client]:
                del total.of_client[what, self._client]
        self.n_groups = self.n_bytes = 0

    def count(self, what: str, n: int) -> None:
        """Take so many "groups" or "bytes", whatever room there is."""
        total = self._admission
        total.of_client[what, self._client] += n
        if what == "groups":
            self.n_groups += n
            total.n_groups += n
        else:
            self.n_bytes += n
            total.n_bytes += n

    def check_size(self, n_bytes: int) -> None:
        """See that a body of that size may be read.

        Raises:
            Problem: it is too large.
        """
        limit = self._admission.config.max_body_bytes
        if n_bytes > limit:
            raise Problem(
                413,
                "too-large",
                f"the body has more than {limit:,} bytes",
                hint="Send fewer groups at a time, or smaller pictures (--max-body-mb).",
            )

    def check_number(self, n: int, what: str = "groups") -> None:
        """See that a request may have so many groups, before each of them is an object.

        Raises:
            Problem: these are too many for any time.
        """
        limit = share_of(self._admission.config.max_waiting)
        if n > limit:
            raise Problem(
                413,
                "too-large",
                f"the request has {n:,} {what}, more than {limit:,}",
                hint="Send fewer groups at a time (--max-waiting).",
            )

    def add_bytes(self, n_bytes: int) -> None:
        """Take room for a part of the body.

        Raises:
            Problem: the request is too large, or there is no room now.
        """
        total = self._admission
        self.check_size(self.n_bytes + n_bytes)
        self._check_room("bytes", n_bytes, total.n_bytes, total.config.max_waiting_bytes)
        self.count("bytes", n_bytes)

    def add_groups(self, n_groups: int) -> None:
        """Take room for groups.

        Raises:
            Problem: these are too many for any time, or there is no room now.
        """
        total = self._admission
        self.check_number(n_groups)
        self._check_room("groups", n_groups, total.n_groups, total.config.max_waiting)
        self.count("groups", n_groups)

    def _check_room(self, what: str, n: int, held: int, limit: int) -> None:
        own, share = self._admission.of_client[what, self._client], share_of(limit)
        if held + n > limit:
            raise _full(f"{held:,} {what} wait, and there is room for {limit:,}")
        if own + n > share:
            raise _full(f"{own:,} {what} of this client wait, and there is room for {share:,}")


def _full(what: str) -> Problem:
    return Problem(
        429,
        "queue-full",
        what,
        hint=f"Try again in {RETRY_AFTER_S} s, or longer each time.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
