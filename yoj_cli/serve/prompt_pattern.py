"""What a trainer's prompt asks, found by a regular expression (`--prompt-pattern`) within a limit of time.

The expression is the owner's, and the text a client's: `(.*?)<end>` on a text with many beginnings and no end takes
time that grows with the square of its length, and Python's engine lets no other thread run meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from yoj_cli.errors import InputError
from yoj_cli.line_process import LineProcess, NoReplyError

SEARCH_S = 1.0
"""For one prompt, on a busy machine; a real one takes a millisecond."""

PROGRAM = f"""
import json, re, signal, sys
pattern = re.compile(json.loads(sys.stdin.readline()))
for line in sys.stdin:
    getattr(signal, "alarm", int)({SEARCH_S + 4:.0f})  # whoever asked may be gone
    found = pattern.search(json.loads(line))
    getattr(signal, "alarm", int)(0)
    print(json.dumps(None if found is None else found[1]), flush=True)
"""


class PromptPattern:
    """The pattern of a server; one prompt is searched at a time, in a process that starts with the first.

    Args:
        pattern: with one group.
    """

    def __init__(self, pattern: str) -> None:
        self._process = LineProcess([sys.executable, "-I", "-S", "-c", PROGRAM], pattern, limit_s=SEARCH_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="yoj-prefetch-pattern")

    async def find(self, prompt: str) -> str:
        """What the group of the pattern matches.

        Raises:
            InputError: nothing, or it takes too long.
        """
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._process.ask, prompt)
        except NoReplyError as error:
            raise InputError(
                f"--prompt-pattern finds nothing in the prompt: {error}",
                hint="Correct the pattern of the server.",
            ) from error
        if found is None:
            raise InputError(
                "the prompt does not match --prompt-pattern", hint="Correct the pattern of the server."
            )
        return str(found)

    def close(self) -> None:
        """Give up what is searched."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._process.close()
