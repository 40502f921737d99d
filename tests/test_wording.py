"""The words that every format shares."""

from __future__ import annotations

import pytest

from tests.verdicts import FULL, make_verdict
from yoj_cli.render.wording import one_line, render_summary
from yoj_cli.verdicts.agreement import Summary


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


def test_a_summary_says_how_often_the_best_changed_with_the_order() -> None:
    summary = Summary()
    for order_agreement in (1.0, 0.75, None):
        summary.add(make_verdict(("a", "b"), (1.0, 0.0), order_agreement=order_agreement, n_orders=4))
    assert render_summary(summary).splitlines()[1] == "best changed with the order in 50% of 2 groups"


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
