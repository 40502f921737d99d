"""Option dataclasses as command-line options, so that each option is declared exactly once."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import typer

DEBUG_VARIABLE = "YOJ_DEBUG"


def is_debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")


def with_options(
    **groups: type | tuple[type, Sequence[str]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of dataclasses as options.

    The decorated function takes each dataclass whole, under the keyword given here; on the command line
    every field is an option of its own, with the flags and help of its `option(...)` declaration. Of a dataclass given
    with names, only these fields are options.
    Every command also gets --offline and --debug.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            if name not in groups
        ]
        chosen = {name: each if isinstance(each, tuple) else (each, ()) for name, each in groups.items()}
        expanded = {name: _parameters(cls, names) for name, (cls, names) in chosen.items()}

        @functools.wraps(command)
        def run(*, debug: bool = False, offline: bool = False, **values: Any) -> None:
            if offline:  # before any library of the Hub is imported, in this process and its children
                os.environ["HF_HUB_OFFLINE"] = "1"
            if debug:
                os.environ[DEBUG_VARIABLE] = "1"
                logging.disable(logging.NOTSET)
            for name, parameters in expanded.items():
                values[name] = chosen[name][0](**{each.name: values.pop(each.name) for each in parameters})
            command(**values)

        offline = _flag(
            "--offline", "Use what is on this machine; never ask the Hub (also HF_HUB_OFFLINE=1)."
        )
        debug = _flag("--debug", "Show tracebacks and libraries' warnings (also YOJ_DEBUG=1).")
        parameters = [*own, *(each for group in expanded.values() for each in group), offline, debug]
        signature = inspect.Signature(
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def named_options(context: typer.Context, cls: type) -> frozenset[str]:
    """The fields of an option dataclass that the command line named, also where it named their default."""
    named = ((item.name, context.get_parameter_source(item.name)) for item in fields(cls))
    return frozenset(name for name, source in named if source is not None and source.name == "COMMANDLINE")


def _flag(name: str, help_text: str) -> inspect.Parameter:
    annotation = Annotated[bool, typer.Option(name, help=help_text)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name.removeprefix("--"), keyword, default=False, annotation=annotation)


def _parameters(cls: type, names: Sequence[str]) -> list[inspect.Parameter]:
    hints = get_type_hints(cls)
    parameters = []
    for item in fields(cls):
        if names and item.name not in names:
            continue
        name = item.name.replace("_", "-")
        # What is on by default, or may be, is switched off by --no-…; what is off needs no such flag.
        can_be_off = item.default is True or hints[item.name] == bool | None
        flags = item.metadata["flags"] or (f"--{name}/--no-{name}" if can_be_off else f"--{name}",)
        described = typer.Option(*flags, help=item.metadata["help"], metavar=item.metadata["metavar"])
        default = item.default if item.default is not MISSING else inspect.Parameter.empty
        parameters.append(
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[hints[item.name], described],
            )
        )
    return parameters
