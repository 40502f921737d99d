"""Options from a TOML file (`--config recipe.toml`) or a named recipe; the command line has precedence over both."""

from __future__ import annotations

import sys
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path

import typer

from yoj_cli.errors import UsageError


def read_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of the command's options; an eager option's callback.

    Raises:
        UsageError: the file cannot be read, is not TOML, or names an option that the command has not.
    """
    if path is None:
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"is not TOML: {error}", where=str(path)) from error
    names = {
        name.lstrip("-").replace("-", "_"): str(option.name)
        for option in context.command.params
        for name in (*option.opts, str(option.name))
        if name.startswith("--") or name == option.name
    }
    values = {}
    for key, value in found.items():
        name = names.get(key.replace("-", "_"))
        if name is None or name in ("recipe", "named", "help", "debug"):
            close = get_close_matches(key.replace("-", "_"), names, n=1)
            raise UsageError(
                f"{key!r} is not an option of this command",
                where=str(path),
                hint=f"Is {close[0]!r} meant?" if close else "`yoj train --help` lists them.",
            )
        values[name] = value
    context.default_map = {**(context.default_map or {}), **values}
    return path


def take_recipe(context: typer.Context, name: str | None) -> str | None:
    """Make the values of a named recipe the defaults of the command's options; those of --config go before.

    What an option stands for by default stays unsaid, so that a judge to go on from decides it.

    Raises:
        UsageError: there is no such recipe.
    """
    if name is None:
        return None
    from yoj_cli.config.recipes import RECIPES
    from yoj_cli.config.train import TrainConfig

    if name not in RECIPES:
        raise UsageError(f"{name!r} is not one of {', '.join(RECIPES)}", where="--recipe")
    otherwise = {item.name: item.metadata["otherwise"] for item in fields(TrainConfig)}
    values = {key: value for key, value in RECIPES[name].items() if value != otherwise[key]}
    context.default_map = {**values, **(context.default_map or {})}
    return name
