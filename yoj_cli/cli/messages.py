"""What a person is told, on standard error: never data, and nothing in it that a terminal acts on."""

from __future__ import annotations

import re
import sys
from collections import Counter
from contextlib import suppress

from yoj_cli.errors import YojError

N_SHOWN = 3
"""Failures of a kind that are shown."""

N_KINDS = 20
"""Kinds that are told apart; the rest is one more."""

OTHER = "failed for other reasons"


class Complaints:
    """Says on standard error what failed; one bad habit of a file's writer does not fill the screen.

    Args:
        noun: what fails.
        rows_say_so: whether the output has an error in the place of each.
    """

    def __init__(self, noun: str = "groups", *, rows_say_so: bool = True) -> None:
        self._noun, self._more = noun, "; their rows say the same" if rows_say_so else ""
        self._n_failed: Counter[str] = Counter()
        self._hints: set[str] = set()

    def add(self, error: YojError) -> None:
        kind = kind_of(error)
        if kind not in self._n_failed and len(self._n_failed) >= N_KINDS:
            kind = OTHER
        self._n_failed[kind] += 1
        n = self._n_failed[kind]
        if n <= N_SHOWN:
            hint = error.hint if error.hint not in self._hints else ""
            self._hints.add(error.hint)
            complain(str(YojError(error.what, where=error.where, hint=hint)))
        elif n == N_SHOWN + 1:
            complain(f"more like these are only counted here{self._more}: {kind}")

    def finish(self) -> None:
        for kind, n in self._n_failed.items():
            if n > N_SHOWN:
                complain(f"{n:,} {self._noun} in all: {kind}")


def kind_of(error: YojError) -> str:
    """What failures that differ only in a number or a quoted text have in common."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d[\d,.]*", "…", error.what)


def complain(text: str) -> None:
    """An error or a warning for a person, on standard error."""
    say(f"yoj: {text}")


def say(text: str) -> None:
    """A message for a person, on standard error, with nothing in it that a terminal acts on."""
    from yoj_cli.render.wording import one_line, plain_signs

    if sys.stderr is None:
        return
    signs = plain_signs(sys.stderr.encoding or "utf-8")
    with suppress(OSError):  # nobody listens
        sys.stderr.write("".join(one_line(line).translate(signs) + "\n" for line in text.splitlines()))
