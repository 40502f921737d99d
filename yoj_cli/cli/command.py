"""How commands show themselves: settings that `yoj` and its groups of commands share."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,  # rich tables take longer to import than the help takes to print
    "pretty_exceptions_enable": False,
    "no_args_is_help": True,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Command(TyperCommand):
    """A command whose help shows an argument by its name alone: FILE, and not FILE <list[str]>."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: None  # type: ignore[attr-defined]
