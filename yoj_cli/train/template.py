"""A chat template from a file, for a base that has none or is to be read by another one."""

from __future__ import annotations

import re
from pathlib import Path

from yoj_cli.errors import UsageError

OPTION = "--chat-template"
_MARKS = re.compile(r"{%[-+]?\s*(end)?generation\s*[-+]?%}")
"""A block that transformers knows and Jinja does not: the assistant's own text."""


def read_template(path: str | None) -> str | None:
    """The template's text; None where no file was named.

    Raises:
        UsageError: the file cannot be read, is empty or is no Jinja.
    """
    if path is None:
        return None
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", where=OPTION) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", where=OPTION) from error
    if not text.strip():
        raise UsageError(f"{path} is empty", where=OPTION)
    try:
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(_MARKS.sub("", text))
    except TemplateSyntaxError as error:
        raise UsageError(
            f"{path}:{error.lineno} is no Jinja template: {error.message}",
            where=OPTION,
            hint="A chat template goes through `messages`, each with a role and content; see docs/training.md.",
        ) from error
    return text
