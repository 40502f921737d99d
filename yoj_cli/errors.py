"""Everything that can go wrong, as one tree, and the exit code each branch ends with.

    YojError
    ├── UsageError              2  options that contradict each other
    ├── InputError              2  a line or file that cannot be used
    │   ├── MediaError          2  a picture or clip that is missing, broken or refused
    │   ├── TooLongError        2  a group over the token limit
    │   └── DeadlineError       2  a group that a server did not score in the time that it had
    ├── ModelError              3  a backbone, tokenizer or processor that cannot be used
    │   └── CheckpointError     3  an adapter, value head or config that does not fit
    ├── DeviceError             4  no usable device
    │   ├── OutOfMemoryError    4  there is too little memory for this group
    │   └── ServerError         4  a server (--server) that is not there, or does not answer as one
    └── UnexpectedError        70  a bug, ours or a library's

Whatever goes wrong while one group is read, prepared or scored is that group's error, of whatever kind: see
`errors_at`. `--on-error skip` reports it and goes on, the next group may well succeed. Only a device that cannot
be used ends the run: see `is_of_one_group`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from enum import IntEnum
from importlib.util import find_spec

LINE_BREAKS = {ord(sign): repr(sign)[1:-1] for sign in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"}
"""How they are written in a message, where a file's name holds one; else it could say a line in our name."""

MAX_CHARACTERS = 2_000
"""Of a message: what it quotes from a file, or a library does, may have megabytes."""


class ExitCode(IntEnum):
    """What the process ends with; docs/input-and-output.md has the same table."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    MODEL = 3
    DEVICE = 4
    BUG = 70
    INTERRUPTED = 130


class YojError(Exception):
    """An error meant for a person.

    Args:
        what: one sentence that says what is wrong.
        where: "file:line", a path or an option name; "" when there is no such place.
        hint: one sentence that says what to do next; "" when `what` already does. It may have several lines, and
            so holds nobody else's words.
    """

    exit_code = ExitCode.MODEL

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        what = what if len(what) <= MAX_CHARACTERS else f"{what[:MAX_CHARACTERS]}…"
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        head = head.translate(LINE_BREAKS)
        return f"{head}\n{self.hint}" if self.hint else head

    def at(self, where: str) -> YojError:
        """A copy of this error, with `where` put in front of the place it already names.

        The inner layers know a path or a token count; only the caller knows the input line. Groups that show one
        picture may share its error, hence the copy.
        """
        found = copy(self)
        found.__cause__, found.__traceback__ = self.__cause__, self.__traceback__
        if where and where != self.where:
            found.where = f"{where}: {self.where}" if self.where else where
        return found


class UsageError(YojError):
    exit_code = ExitCode.USAGE


class InputError(YojError):
    exit_code = ExitCode.USAGE


class MediaError(InputError):
    pass


class TooLongError(InputError):
    pass


class DeadlineError(InputError):
    pass


class ModelError(YojError):
    exit_code = ExitCode.MODEL


class CheckpointError(ModelError):
    pass


class DeviceError(YojError):
    exit_code = ExitCode.DEVICE


class OutOfMemoryError(DeviceError):
    pass


class ServerError(DeviceError):
    pass


class UnexpectedError(YojError):
    exit_code = ExitCode.BUG

    @classmethod
    def of(cls, error: Exception) -> UnexpectedError:
        """What to say of an exception that nobody foresaw; raise it from that."""
        return cls(
            f"unexpected {type(error).__name__}: {error}",
            hint="This is a bug in yoj; YOJ_DEBUG=1 shows where.",
        )


def first_few(names: Sequence[str], n: int = 3) -> str:
    """The first of many names, for a message: "a, b, c …"."""
    return ", ".join(names[:n]) + (" …" if len(names) > n else "")


def require(what: str, *modules: str, extra: str, where: str = "") -> None:
    """See that the libraries of an extra are installed.

    Args:
        what: needs them.
        where: the option or file that is about it.
    Raises:
        UsageError: one is not.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"{what} needs {' and '.join(missing)}, which {verb} not installed",
            where=where,
            hint=f"pip install 'yoj-cli[{extra}]'",
        )


@contextmanager
def errors_at(where: str) -> Iterator[None]:
    """Around what is done for one group: whatever goes wrong leaves as a `YojError` that names the group's line."""
    try:
        yield
    except YojError as error:
        raise error.at(where) from error.__cause__
    except MemoryError as error:
        raise OutOfMemoryError(
            "there is not enough memory for this group",
            where=where,
            hint="Use smaller pictures, fewer frames (--max-frames) or shorter texts, or free memory.",
        ) from error
    except OSError as error:  # no file of the group's: no temporary folder, too many open files, a full disk
        raise InputError(
            f"the system refused what this group needs: {error}",
            where=where,
            hint="Mend that (TMPDIR names the temporary folder) and score the group again.",
        ) from error
    except Exception as error:
        raise UnexpectedError.of(error).at(where) from error


def is_of_one_group(error: YojError) -> bool:
    """Whether an error that came with one group says nothing about the others."""
    return isinstance(error, OutOfMemoryError) or not isinstance(error, DeviceError)
