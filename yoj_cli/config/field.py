"""How an option is declared: a dataclass field with its help text, flags and limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from yoj_cli.errors import UsageError

Check = Callable[[Any], "str | None"]
"""What is wrong with a value, in words; None where nothing is."""


def option(
    default: Any,
    help_text: str,
    *flags: str,
    metavar: str | None = None,
    check: Check | None = None,
    otherwise: Any = None,
) -> Any:
    """A dataclass field that is also a command-line option; without `flags` it is `--field-name`.

    Args:
        check: of values other than None.
        otherwise: what the default stands for where nothing else decides; see `value_of`.
    """
    metadata = {
        "help": help_text,
        "flags": flags,
        "metavar": metavar,
        "check": check,
        "otherwise": otherwise,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A set of options, each checked by its type and its declaration; base of all configurations.

    Raises:
        UsageError: a value that is none of the choices or out of range, or options that contradict each other.
    """

    def __post_init__(self) -> None:
        choices = _choices(type(self))
        for item in fields(self):
            value, allowed, check = getattr(self, item.name), choices.get(item.name), item.metadata["check"]
            problem = None
            if allowed and value not in allowed:
                problem = f"{value!r} is not one of {', '.join(str(each) for each in allowed if each)}"
            elif check and value is not None:
                problem = check(value)
            if problem:
                raise UsageError(problem, where=f"--{item.name.replace('_', '-')}")
        self.check_together()

    def check_together(self) -> None:
        """Options that contradict each other, and what depends on the machine; for subclasses."""


def value_of(options: Options, name: str) -> Any:
    """The value of an option, or what its default stands for where it was not given."""
    (item,) = (item for item in fields(options) if item.name == name)
    value = getattr(options, name)
    return item.metadata["otherwise"] if value in (None, "") else value


def _choices(cls: type) -> dict[str, tuple[object, ...]]:
    """The values that a field of a Literal type may have, None among them where it is optional."""
    found = {}
    for name, hint in get_type_hints(cls).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        values = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
        if values:
            found[name] = (*values, None) if type(None) in parts else tuple(values)
    return found


def positive(value: float) -> str | None:
    return None if value > 0 and math.isfinite(value) else f"{value} is not a positive number"


def not_negative(value: float) -> str | None:
    return None if value >= 0 and math.isfinite(value) else f"{value} is not a number of at least 0"


def valid_seed(value: int) -> str | None:
    return None if 0 <= value < 2**32 else f"{value} is not in 0 … {2**32 - 1}, which NumPy and torch take"
