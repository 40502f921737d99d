"""A chat template at work in a process of its own, within limits of time, memory and length.

A checkpoint's template is a stranger's program. Jinja's sandbox keeps it from files and the network, not from loops and
texts without end, and no step of Python's stops `"x" * 10**9` half-way: only the system does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.errors import CheckpointError
from yoj_cli.line_process import LineProcess, NoReplyError

RENDER_S = 5
"""For one conversation, on a busy machine; a real template takes a millisecond."""

PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    f"from yoj_cli.sequence.template_worker import serve; serve({RENDER_S + 5})"
)


class TemplateRefusedError(Exception):
    """What a template said of a conversation, or that it broke a limit."""


class TemplateProcess:
    """One template; `render` may be called from any thread. The process starts with the first conversation.

    Args:
        template: Jinja, as transformers takes it.
        variables: the tokenizer's named special tokens (`bos_token`, …).
    """

    def __init__(self, template: str, variables: Mapping[str, str]) -> None:
        command = [sys.executable, "-I", "-c", PROGRAM, *sys.path]
        self._lines = LineProcess(
            command, {"template": template, "variables": dict(variables)}, limit_s=RENDER_S
        )

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """A conversation as the template writes it.

        Raises:
            TemplateRefusedError: the template refuses it, fails, or takes too long or too much.
        """
        try:
            reply: dict[str, str] = self._lines.ask(messages)
        except NoReplyError as error:
            raise TemplateRefusedError(str(error)) from error
        if "error" in reply:
            raise TemplateRefusedError(reply["error"])
        return reply["text"]


def start_template(processor: Any, *, where: str) -> TemplateProcess:
    """The template of a processor or tokenizer, as transformers would choose and call it.

    Args:
        where: the checkpoint, for errors.
    Raises:
        CheckpointError: there is none, or several without a default.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    found = getattr(processor, "chat_template", None) or tokenizer.chat_template
    template = found.get("default") if isinstance(found, dict) else found
    if not isinstance(template, str):
        several = (
            f"has {len(found)} chat templates, none of them the default" if found else "has no chat template"
        )
        raise CheckpointError(f"the processor {several}", where=where)
    return TemplateProcess(template, tokenizer.special_tokens_map)
