"""What is wrong with a request, as RFC 9457 has it: a status, and the words that the command line would use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from yoj_cli.errors import (
    DeadlineError,
    DeviceError,
    InputError,
    OutOfMemoryError,
    TooLongError,
    YojError,
)

MEDIA_TYPE = "application/problem+json"

TITLES = {
    "bad-request": "The request cannot be read",
    "no-key": "A key is needed",
    "not-found": "There is no such page",
    "wrong-method": "This page is asked otherwise",
    "too-slow": "The request did not come in time",
    "other-judge": "Another judge is loaded",
    "no-cohort": "How many responses belong together is not known",
    "too-large": "The request is too large",
    "wrong-type": "The request is of a type that is not read",
    "wrong-host": "The server is not called so",
    "bad-group": "The group cannot be scored",
    "queue-full": "Too much is waiting",
    "bug": "The server has a bug",
    "not-ready": "No judge is ready",
    "deadline": "The group was not scored in time",
}


class Problem(Exception):
    """An answer that says what is wrong.

    Args:
        kind: one of TITLES.
        detail: what is wrong with this very request.
        hint: what to do next.
        headers: of the answer, beside its type.
        error: the error of a group, whose type and message are told too.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        error: YojError | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.hint = status, kind, detail, hint
        self.headers, self.error = dict(headers or {}), error

    def all_headers(self) -> dict[str, str]:
        """Of the answer, but for its type and length. A client whose body was not read can say no more here."""
        was_read = self.status in (404, 405, 409, 422, 504)
        return self.headers if was_read else {**self.headers, "Connection": "close"}

    def document(self, request_id: str) -> dict[str, Any]:
        """The body of the answer."""
        document: dict[str, Any] = {
            "type": f"urn:problem-type:yoj:{self.kind}",
            "title": TITLES[self.kind],
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            "request_id": request_id,
        }
        if self.error is not None:
            document["error"] = {"type": type(self.error).__name__, "message": str(self.error)}
        return document

    def body(self, request_id: str) -> bytes:
        """The same as bytes; ASCII, for texts of others may hold what is no Unicode."""
        return json.dumps(self.document(request_id)).encode()


def problem_of(error: YojError) -> Problem:
    """What a request is told that was about one group, which could not be scored."""
    status, kind = _status_of(error)
    detail = f"{error.where}: {error.what}" if error.where else error.what
    headers = {"Retry-After": "30"} if status == 503 else {}
    return Problem(status, kind, detail, hint=error.hint, headers=headers, error=error)


def _status_of(error: YojError) -> tuple[int, str]:
    if isinstance(error, DeadlineError):
        return 504, "deadline"
    if isinstance(error, (TooLongError, OutOfMemoryError)):
        return 413, "bad-group"
    if isinstance(error, DeviceError):
        return 503, "not-ready"
    return (422, "bad-group") if isinstance(error, InputError) else (500, "bug")
