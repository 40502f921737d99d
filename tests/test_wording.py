"""The words that every format shares."""

from __future__ import annotations

import pytest

from tests.verdicts import FULL
from yoj_cli.outputs.ranking import Summary
from yoj_cli.outputs.wording import one_line, render_summary


def test_a_summary() -> None:
    summary = Summary()
    summary.add(FULL)
    assert render_summary(summary, seconds=0.5) == (
        "1 group judged · 1,234 tokens · 0.5 s, 2.0 groups/s\n"
        "best of N 0% (chance 33%) · pairs 67% of 3 · tau-b 0.33 · 1 ranked group"
    )
    summary.add_failure()
    assert "1 failed" in render_summary(summary)
    assert render_summary(Summary()) == "0 groups judged"


@pytest.mark.parametrize(
    ("text", "length", "line"),
    [
        ("a\n\n b\tc ", None, "a b c"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("ab cdefg", 4, "ab…"),
        ("\x1b[0m", None, "␛[0m"),
        ("\n" * 99 + "a" * 10_000, 4, "aaa…"),
        ("a" + " " * 10_000 + "b", 4, "a …"),
        ("", 4, ""),
    ],
)
def test_one_line(text: str, length: int | None, line: str) -> None:
    assert one_line(text, length) == line
