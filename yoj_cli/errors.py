"""Everything that can go wrong, as one tree, and the exit code each branch ends with.

    YojError
    ├── UsageError              2  options that contradict each other
    ├── InputError              2  a line or file that cannot be used
    │   ├── MediaError          2  a picture or clip that is missing, broken or refused
    │   └── TooLongError        2  a group over the token limit
    ├── ModelError              3  a backbone, tokenizer or processor that cannot be used
    │   └── CheckpointError     3  an adapter, value head or config that does not fit
    └── DeviceError             4  no usable device
        └── OutOfMemoryError    4  the device is too small for this group

`InputError` and `OutOfMemoryError` concern one group: `--on-error skip` reports them and goes on, the next
group may well succeed.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with; the README documents the same table."""

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
        hint: one sentence that says what to do next; "" when `what` already does.
    """

    exit_code = ExitCode.MODEL

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n{self.hint}" if self.hint else head

    def at(self, where: str) -> YojError:
        """The same error, with `where` put in front of the place it already names.

        The inner layers know a path or a token count; only the caller knows the input line.
        """
        if where and where != self.where:
            self.where = f"{where}: {self.where}" if self.where else where
        return self


class UsageError(YojError):
    exit_code = ExitCode.USAGE


class InputError(YojError):
    exit_code = ExitCode.USAGE


class MediaError(InputError):
    pass


class TooLongError(InputError):
    pass


class ModelError(YojError):
    exit_code = ExitCode.MODEL


class CheckpointError(ModelError):
    pass


class DeviceError(YojError):
    exit_code = ExitCode.DEVICE


class OutOfMemoryError(DeviceError):
    pass
