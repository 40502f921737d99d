"""Verdict files to a page: read, join, look at the media, render."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError, first_few, require
from yoj_cli.evaluate.judged import Judged, read_judged
from yoj_cli.evaluate.saved import SavedRun, read_runs
from yoj_cli.groups import Media
from yoj_cli.media.options import MediaOptions
from yoj_cli.report.document import group_document, index_entry, media_document
from yoj_cli.report.entries import LOW_MARGIN, Entry, build_entries, facts_of
from yoj_cli.report.overview import build_overview
from yoj_cli.report.page import data_block, render_page
from yoj_cli.report.pictures import Shown, show_media

MAX_CLIP_FRAMES = 64
"""Frames of a clip in the page, whatever its judge saw."""


@dataclass(frozen=True, slots=True)
class Report:
    """A page, and what is to be said of it.

    Attributes:
        notes: what was left out or could not be shown, one sentence each.
    """

    page: str
    n_groups: int
    notes: tuple[str, ...]


def build_report(
    paths: Sequence[str],
    *,
    title: str | None,
    max_mb: float,
    media_root: Path | None,
    options: MediaOptions,
    limits: Limits = LIMITS,
    tell: Callable[[str], None] = lambda what: None,
) -> Report:
    """The page of one verdict file, or of two that are compared.

    Args:
        title: None takes the names of the files.
        max_mb: room for pictures, in megabytes of the page.
        options: whether media may be fetched, and how much of them.
        limits: of lines and groups.
        tell: hears what is going on.
    Raises:
        InputError: a file cannot be read, or holds a line without a verdict.
        UsageError: a library that the comparison needs is not installed.
    """
    if len(paths) > 1:
        require("to compare two files", "scipy", extra="eval")
    runs = [_open(path) for path in paths]
    files = [_read(run, media_root, limits) for run in runs]
    entries = build_entries(files)
    media = _media_of(entries, options)
    shown = show_media(list(media.items()), max_bytes=max_mb * 1e6, tell=tell)
    notes = _notes(shown, max_mb)
    names = _names(paths)
    judges = [_judge_of(name, file) for name, file in zip(names, files, strict=True)]
    places = {medium: place for place, medium in enumerate(media)}
    groups = [group_document(entry, places, judges) for entry in entries]
    page = render_page(
        title=title or " and ".join(names),
        overview=build_overview(entries, files, [run.benchmark for run in runs], judges, notes),
        index={
            "report": _fingerprint(groups),
            "judges": judges,
            "low_margin": LOW_MARGIN,
            "groups": [index_entry(entry) for entry in entries],
        },
        blocks=[
            *((f"group-{i}", group) for i, group in enumerate(groups)),
            *((f"media-{i}", media_document(each)) for i, each in enumerate(shown)),
            *((f"large-{i}", each.large) for i, each in enumerate(shown) if each.large),
        ],
    )
    return Report(page, len(entries), notes)


def _open(path: str) -> SavedRun:
    """A file that `yoj score` wrote, or a run that `yoj eval --save` kept."""
    if path == "-":
        return SavedRun("verdicts", "standard input", path, "", "", "", path=path)
    runs = read_runs([path])
    if len(runs) > 1:
        raise InputError(
            f"holds {len(runs)} runs: {first_few([run.name for run in runs])}",
            where=path,
            hint="A report shows one: name its folder.",
        )
    return runs[0]


def _read(run: SavedRun, media_root: Path | None, limits: Limits) -> list[Judged]:
    folder = None if media_root else run.folder or None
    judged = list(read_judged([run.path], folder=folder, media_root=media_root, limits=limits))
    if not judged:
        raise InputError(
            "there is no verdict in it", where=run.path, hint="`yoj score FILE --json` writes verdicts."
        )
    return judged


def _media_of(entries: Sequence[Entry], options: MediaOptions) -> dict[Media, MediaOptions]:
    """Each medium once, with the frames that the first judge to see it saw."""
    found: dict[Media, MediaOptions] = {}
    for entry in entries:
        said = entry.shown
        for medium in said.group.media if said.group else ():
            n_frames = facts_of(said).get("max_frames")
            stated = n_frames if isinstance(n_frames, int) and n_frames >= 1 else None
            max_frames = None if stated is None else min(stated, MAX_CLIP_FRAMES)
            found.setdefault(medium, replace(options, max_frames=max_frames))
    return found


def _names(paths: Sequence[str]) -> list[str]:
    """What each file is called: its name, or its path where the names are the same."""
    names = ["standard input" if path == "-" else PurePath(path).name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _judge_of(name: str, file: Sequence[Judged]) -> dict[str, Any]:
    """What scored a file, as its first verdict says, and how many of its groups were scored otherwise."""
    said = [facts_of(each) for each in file if each.scores]
    facts = said[0] if said else {}
    return {
        "file": name,
        "model": facts.get("model"),
        "facts": facts,
        "n_others": sum(each != facts for each in said),
    }


def _fingerprint(groups: Sequence[Mapping[str, Any]]) -> str:
    """Equal for equal reports: under it the browser keeps the reader's marks."""
    digest = hashlib.sha256()
    for group in groups:
        digest.update(data_block(group).encode("utf-8"))
    return digest.hexdigest()[:16]


def _notes(shown: Sequence[Shown], max_mb: float) -> tuple[str, ...]:
    n_missing = sum(bool(each.problem) for each in shown)
    n_none = sum(each.left_out == "all" for each in shown)
    n_small = sum(each.left_out == "large" for each in shown)
    notes = []
    if n_missing:
        notes.append(
            f"{n_missing:,} of {len(shown):,} pictures and clips could not be read; each says why. "
            "(Relative paths start from the verdicts' folder, or from --media-root.)"
        )
    if n_none:
        notes.append(f"{n_none:,} of {len(shown):,} pictures and clips are left out (--max-mb {max_mb:g}).")
    if n_small:
        notes.append(
            f"{n_small:,} of {len(shown):,} pictures and clips are small ones only (--max-mb {max_mb:g})."
        )
    return tuple(notes)
