"""The words that every format shares: a text on one line, a group's title and facts, the run's summary.

What a prompt or a response says is data. `one_line` leaves nothing in it that a terminal acts on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from unicodedata import category
from urllib.parse import urlparse

from yoj_cli.groups import Failure, Group, Media, id_of
from yoj_cli.verdicts.agreement import Summary
from yoj_cli.verdicts.verdict import Verdict

LABEL_LENGTH = 28

PLAIN_SIGNS = dict(zip("★…·✓✗█▉▊▋▌▍▎▏", "*~-+x#####   ", strict=True))
"""What stands for a sign of ours where the stream's encoding has no such character."""

BIDI_CONTROLS = frozenset(map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def one_line(text: str, length: int | None = None) -> str:
    """The text on one line of at most `length` characters, with nothing left that a terminal acts on.

    Runs of white space become one space. Control characters are shown as pictures (ESC as ␛); those without a
    picture, and characters that turn the writing direction of what follows, as \\uXXXX.
    """
    if length is not None and len(text) > 8 * length:
        text = text.lstrip()[: 8 * length] + "…"
    line = "".join(map(_visible, " ".join(text.split())))
    if length is not None and len(line) > length:
        line = line[: length - 1].rstrip() + "…"
    return line


def visible(text: str) -> str:
    """The text with nothing left that a terminal acts on, but its line breaks and tabs."""
    return "".join(char if char in "\t\r\n" else _visible(char) for char in text)


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code >= 0x80 and (category(char) in ("Cc", "Cs") or char in BIDI_CONTROLS):
        return f"\\u{code:04x}"
    return char


def encodable(text: str, encoding: str) -> str:
    """The text with what the encoding does not have (lone surrogates, in UTF-8) written as \\uXXXX."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def plain_signs(encoding: str) -> dict[int, str]:
    """For `str.translate`: our signs as ASCII where the encoding lacks one of them, else nothing to do."""
    if all(encodable(sign, encoding) == sign for sign in PLAIN_SIGNS):
        return {}
    return {ord(sign): plain for sign, plain in PLAIN_SIGNS.items()}


def name_of(source: Group | Failure | Mapping[str, Any]) -> str:
    return source.id if isinstance(source, (Group, Failure)) else id_of(source, "(no id)")


def error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def labels_of(group: Group, length: int = LABEL_LENGTH) -> list[str]:
    """What to call each response: the record's "labels" (file names, for `yoj rank`), else the index."""
    labels = group.record.get("labels")
    if isinstance(labels, (list, tuple)) and len(labels) == len(group.responses):
        names = [one_line(str(label)) for label in labels]
        return [name if len(name) <= length else "…" + name[1 - length :] for name in names]
    return [str(i) for i in range(len(group.responses))]


def facts_of(verdict: Verdict) -> str:
    """The line under the title: media, responses, what their order did, tokens, time."""
    n = len(verdict.scores)
    facts = [f"{media.kind} {one_line(_media_name(media), LABEL_LENGTH)}" for media in verdict.group.media]
    facts.append(counted(n, "response"))
    if verdict.abstained:
        facts.append("abstained: no response is likely enough to be the best")
    if verdict.order_agreement is not None:
        n_agreeing = verdict.order_agreement * verdict.n_orders  # no whole number where responses tie
        facts.append(f"best in {n_agreeing:.3g} of {verdict.n_orders} orders")
    if verdict.n_tokens:
        facts.append(f"{verdict.n_tokens:,} tokens")
    if verdict.seconds:
        facts.append(
            f"{verdict.seconds * 1000:.0f} ms" if verdict.seconds < 1 else f"{verdict.seconds:.1f} s"
        )
    return " · ".join(facts)


def _media_name(media: Media) -> str:
    if not isinstance(media.source, str):
        return "in memory"
    if media.source.startswith("data:"):
        return "in the line"
    if media.source.startswith(("http://", "https://")):
        return PurePosixPath(urlparse(media.source).path).name or media.source
    return PureWindowsPath(media.source).name or media.source


def counted(n: int, noun: str) -> str:
    """1 group, 2,000 groups."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def render_size(n_bytes: float) -> str:
    """3.7 GB, 15.2 MB, 2 MB."""
    size = f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
    return size.replace(".0 MB", " MB")


def percent(p: float) -> str:
    if 0 < p < 0.005:
        return "<1%"
    if 0.995 <= p < 1:
        return ">99%"
    return f"{100 * p:.0f}%"


def is_hit(verdict: Verdict, i: int) -> bool | None:
    """Whether a top-scored response is one of the best-ranked; None where that says nothing."""
    rankings = verdict.group.rankings
    if rankings is None or verdict.ranks[i] != 1 or len(set(rankings)) == 1:
        return None
    return rankings[i] == min(rankings)


def render_summary(summary: Summary, *, seconds: float | None = None) -> str:
    """What happened over all groups, in one to three lines.

    Args:
        seconds: wall time of the whole run, to say how fast it went.
    """
    facts = [f"{counted(summary.n_scored, 'group')} judged"]
    if summary.n_abstained:
        facts.append(f"{summary.n_abstained:,} abstained")
    if summary.n_failed:
        facts.append(f"{summary.n_failed:,} failed")
    if summary.n_tokens:
        facts.append(f"{summary.n_tokens:,} tokens")
    if seconds and summary.n_scored:
        facts.append(f"{seconds:,.1f} s, {summary.n_scored / seconds:,.1f} groups/s")
    lines = [" · ".join(facts)]
    if summary.n_reordered:
        changed, n = percent(summary.n_changed / summary.n_reordered), summary.n_reordered
        lines.append(f"best changed with the order in {changed} of {counted(n, 'group')}")
    mean = summary.agreement
    if mean is not None:
        lines.append(
            f"best of N {percent(mean.best)} (chance {percent(mean.chance)})"
            f" · pairs {percent(mean.pairs)} of {mean.n_pairs:,} · tau-b {mean.tau:.2f}"
            f" · {counted(mean.n_groups, 'ranked group')}"
        )
    return "\n".join(lines)
