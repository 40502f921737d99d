"""How an option is declared: a dataclass field with its help text, flags and limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from os import PathLike
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
        hints = get_type_hints(type(self))
        for item in fields(self):
            value, check = getattr(self, item.name), item.metadata["check"]
            allowed = _choices(hints[item.name])
            problem = None
            if allowed and value not in allowed:
                problem = f"{value!r} is not one of {', '.join(str(each) for each in allowed if each)}"
            elif not allowed and (kind := _missed_type(value, hints[item.name])):
                problem = f"{value!r} is not {kind}"
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


_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "True or False"),
    int: ((Integral,), "a whole number"),  # NumPy's among them
    float: ((Real,), "a number"),
    str: ((str, PathLike), "a text"),
}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _choices(hint: Any) -> tuple[object, ...]:
    """The values that a field of a Literal type may have, None among them where it is optional; () for others."""
    parts = _alternatives(hint)
    values = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    return (*values, *([None] if type(None) in parts else [])) if values else ()


def _missed_type(value: object, hint: Any) -> str:
    """What a field of plain types should hold and does not, in words; "" where nothing is wrong."""
    parts = _alternatives(hint)
    kinds = [_TYPES[part] for part in parts if part in _TYPES]
    if len(kinds) < len([part for part in parts if part is not type(None)]):
        return ""  # a folder or a list: other code says what they may be
    if value is None:
        return "" if type(None) in parts else kinds[0][1]
    fits = any(isinstance(value, types) and (bool in types or type(value) is not bool) for types, _ in kinds)
    return "" if fits else " or ".join(words for _, words in kinds)


def positive(value: float) -> str | None:
    return None if value > 0 and math.isfinite(value) else f"{value} is not a positive number"


def not_negative(value: float) -> str | None:
    return None if value >= 0 and math.isfinite(value) else f"{value} is not a number of at least 0"


def valid_seed(value: int) -> str | None:
    return None if 0 <= value < 2**32 else f"{value} is not in 0 … {2**32 - 1}, which NumPy and torch take"
