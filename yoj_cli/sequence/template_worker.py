"""The program of a process that renders one chat template, which template_process starts and limits.

The environment is the one that transformers gives a template (`_compile_jinja_template` of its
utils/chat_template_utils.py), without importing it: that would take seconds and hundreds of megabytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

MAX_CHARS = 1_000_000
"""Of a rendered conversation. Its texts are placeholders there: a hundred turns take some 10,000 characters."""
MAX_MEMORY_BYTES = 512 << 20
"""Address space of the process; it starts with some 30 MB."""


def serve(render_s: int) -> None:
    """The loop until input ends: the template as one line of JSON, then a conversation a line in, an answer a line out.

    Args:
        render_s: time for one conversation, after which the process ends by itself; whoever asked may be gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _limit()
    given = json.loads(requests.readline())
    template = None
    for line in requests:
        with contextlib.suppress(AttributeError):  # Windows has none
            signal.alarm(render_s)
        try:
            template = template or compile_template(given["template"])
            reply = _render(template, json.loads(line), given["variables"])
        except MemoryError:
            reply = {"error": f"it takes more than {MAX_MEMORY_BYTES >> 20} MB"}
        except Exception as error:  # a template is a program of its own, and may fail like any
            reply = {"error": (str(error) or type(error).__name__)[:1000]}
        with contextlib.suppress(AttributeError):
            signal.alarm(0)
        try:
            replies.write(json.dumps(reply).encode() + b"\n")
            replies.flush()
        except BrokenPipeError:
            sys.exit(0)


def _render(template: Template, messages: list[Any], variables: dict[str, Any]) -> dict[str, str]:
    text = template.render(
        messages=messages, tools=None, documents=None, add_generation_prompt=False, **variables
    )
    if len(text) > MAX_CHARS:
        return {"error": f"it writes {len(text):,} characters, and the limit is {MAX_CHARS:,}"}
    return {"text": text}


def _limit() -> None:
    """No more memory than a template needs, and nothing written."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def compile_template(source: str) -> Template:
    """A template in the sandbox, with the filters, functions and blocks that chat templates count on."""
    from jinja2 import TemplateError, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """`{% generation %}`: marks the assistant's own text, and shows it as it is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_show"), [], [], body).set_lineno(line)

        def _show(self, caller: Any) -> str:
            return str(caller())

    class PlainNamespace(Namespace):
        """Without names that begin with an underscore, by which a template could leave the sandbox."""

        def __init__(*arguments: Any, **values: Any) -> None:
            self, *rest = arguments
            for name in (values := dict(*rest, **values)):
                _check_name(name)
            Namespace.__init__(self, values)

        def __setitem__(self, name: str, value: Any) -> None:
            _check_name(name)
            super().__setitem__(name, value)

    class PlainDict:
        """`dict` without its attributes."""

        def __call__(self, *arguments: Any, **values: Any) -> dict[Any, Any]:
            return dict(*arguments, **values)

        def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
            return dict.fromkeys(*arguments)

    def _check_name(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace takes no name like {name!r}")

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": PlainDict(),
        "namespace": PlainNamespace,
    }
    return environment.from_string(source)
