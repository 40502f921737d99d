"""Chat templates in a process of their own: they write what transformers writes, and break no limit."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tests.conftest import PARITY
from yoj_cli.sequence.template_process import TemplateProcess, TemplateRefusedError
from yoj_cli.sequence.template_worker import MAX_CHARS, MAX_MEMORY_BYTES
from yoj_cli.storage.find import EMBEDDED

HELLO = [{"role": "user", "content": "hello"}]
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}

ODD = """{{- bos_token }}{% for message in messages if message.role != 'tool' -%}
{%- set ns = namespace(first=true) -%}
    {% if loop.index > 4 %}{% break %}{% endif %}
    {% if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}
    {% elif message.content is string %}[{{ message.role | upper }}] {{ message.content | tojson }}
    {% else %}{% for block in message['content'] %}{{ block | tojson(indent=2) }}{% set ns.first = false %}{% endfor %}
    {% endif %}
{% endfor %}{{ dict(a=1) }}{{ tools is none }}{{ undefined_name }}{{ add_generation_prompt }}
"""
"""What templates use of their environment: blocks, loop control, namespaces, filters, whitespace control."""


def shapes() -> list[list[dict[str, Any]]]:
    """Conversations of up to three turns, of texts alone and with a picture and a clip."""
    found = []
    for n in (1, 2, 3):
        for roles in itertools.product(("system", "user", "assistant", "tool"), repeat=n):
            for content in (
                "hé <b>\n",
                [{"type": "image"}, {"type": "text", "text": "a"}, {"type": "video"}],
            ):
                found.append([{"role": role, "content": content} for role in roles])
    return found


@pytest.mark.parametrize("source", ["demo", "parity", "qwen", "odd"])
def test_a_template_writes_and_refuses_what_it_does_in_transformers(source: str) -> None:
    from tests.tiny_qwen3_vl import CHAT_TEMPLATE

    texts = {
        "demo": lambda: (EMBEDDED / "chat_template.jinja").read_text(encoding="utf-8"),
        "parity": lambda: (PARITY / "checkpoint" / "chat_template.jinja").read_text(encoding="utf-8"),
        "qwen": lambda: CHAT_TEMPLATE,
        "odd": lambda: ODD,
    }
    text = texts[source]()
    process = TemplateProcess(text, VARIABLES)
    n_written = 0
    for messages in shapes():
        try:
            wanted = render_jinja_template([messages], chat_template=text, **VARIABLES)[0][0]
            n_written += 1
        except Exception as error:
            wanted = f"refused: {error}"
        try:
            found = process.render(messages)
        except TemplateRefusedError as error:
            found = f"refused: {error}"
        assert found == wanted
    assert n_written > 5


def refusal(template: str) -> str:
    with pytest.raises(TemplateRefusedError) as refused:
        TemplateProcess(template, {}).render(HELLO)
    return str(refused.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10**10 }}",
        "{{ 'a' | center(10**9) }}",
        "{{ '%1000000000d' | format(3) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ [0] * 10**9 }}",
    ],
)
def test_a_text_without_end_is_refused(template: str) -> None:
    assert refusal(template) == f"it takes more than {MAX_MEMORY_BYTES >> 20} MB"


def test_a_long_text_is_refused_whole() -> None:
    assert refusal(f"{{{{ 'x' * {MAX_CHARS + 1} }}}}").startswith("it writes 1,000,001 characters")
    assert len(TemplateProcess(f"{{{{ 'x' * {MAX_CHARS} }}}}", {}).render(HELLO)) == MAX_CHARS


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{" + "(" * 5000 + "}}",
        "{% if",
    ],
)
def test_a_way_out_of_the_sandbox_or_the_grammar_is_refused(template: str) -> None:
    assert refusal(template)


def test_a_loop_without_end_is_ended_and_the_next_conversation_has_a_new_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("yoj_cli.sequence.template_process.RENDER_S", 1)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    process = TemplateProcess("{% if messages | length > 1 %}" + loop + "{% endif %}fine", {})
    assert process.render(HELLO) == "fine"
    start = time.monotonic()
    with pytest.raises(TemplateRefusedError, match="did not end within 1 s"):
        process.render(HELLO * 2)
    assert time.monotonic() - start < 10
    assert process.render(HELLO) == "fine"


def test_a_template_writes_no_file(tmp_path: Path) -> None:
    """Were there a way out of the sandbox, the process has a limit of no bytes."""
    path = tmp_path / "file"
    program = (
        "import os; from yoj_cli.sequence.template_worker import _limit; _limit(); "
        f"os.write(os.open({str(path)!r}, os.O_CREAT | os.O_WRONLY), b'x')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert path.read_bytes() == b""
