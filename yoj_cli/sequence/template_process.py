"""A chat template at work in a process of its own, within limits of time, memory and length.

A checkpoint's template is a stranger's program. Jinja's sandbox keeps it from files and the network, not from loops and
texts without end, and no step of Python's stops `"x" * 10**9` half-way: only the system does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from yoj_cli.errors import CheckpointError

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
        self._given = json.dumps({"template": template, "variables": dict(variables)}).encode() + b"\n"
        self._forget()

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """A conversation as the template writes it.

        Raises:
            TemplateRefusedError: the template refuses it, fails, or takes too long or too much.
        """
        if (
            self._owner != os.getpid()
        ):  # a forked child: the process, and whoever holds the lock, are the parent's
            self._forget()
        with self._lock:
            reply = self._ask(json.dumps(messages).encode() + b"\n")
        if "error" in reply:
            raise TemplateRefusedError(reply["error"])
        return reply["text"]

    def _forget(self) -> None:
        self._lock, self._owner = threading.Lock(), os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes], int], TemplateProcess] | None = None

    def _ask(self, line: bytes) -> dict[str, str]:
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(RENDER_S, kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
            reply: dict[str, str] = json.loads(answer)
        except (OSError, ValueError):
            self._stop()
            ended = f"it did not end within {RENDER_S} s" if late.is_set() else "it ended its process"
            return {"error": ended}
        except (
            BaseException
        ):  # interrupted: the answer that is yet to come is to another question than the next
            self._stop()
            raise
        finally:
            timer.cancel()
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        process = self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        )
        self._end = weakref.finalize(self, _end, process, self._owner)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it says so when it is asked
            process.stdin.write(self._given)
        return process

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._process = self._end = None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # an unsent request is lost with its reader
                pipe.close()


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
