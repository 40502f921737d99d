"""One public preference set to training files, row by row; memory holds digests of prompts and responses only."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yoj_cli.config.data import PARTS, DataConfig
from yoj_cli.data.card import check_card, write_card
from yoj_cli.data.counts import Counts, Seen, prompt_key
from yoj_cli.data.decontaminate import Held, is_remote, read_held
from yoj_cli.errors import InputError, UsageError, YojError, errors_at
from yoj_cli.groups import Group
from yoj_cli.records.parse import parse, rank_ratings
from yoj_cli.records.sets.public_set import LeftOutError, PublicSet, Record
from yoj_cli.render.writers import render_json
from yoj_cli.rows.media_folder import MediaFolder
from yoj_cli.rows.source import Source, open_source
from yoj_cli.run.result_file import open_result
from yoj_cli.version import __version__

Say = Callable[[str], None]


@dataclass
class Conversion:
    """A conversion that has been checked and can start.

    Attributes:
        outputs: a file for each part of the split.
        written: groups in each of them.
        fail: told of each row that fails, where those are skipped.
    """

    public_set: PublicSet
    config: DataConfig
    source: Source
    outputs: tuple[Path, ...]
    held: Held
    fail: Callable[[YojError], None]
    counts: Counts = field(default_factory=Counts)
    seen: Seen = field(default_factory=Seen)
    written: list[int] = field(default_factory=list)


def convert_set(
    public_set: PublicSet,
    output: Path,
    config: DataConfig,
    against: Sequence[str],
    *,
    say: Say,
    tell: Say,
    fail: Callable[[YojError], None],
) -> Conversion:
    """Convert a set.

    Args:
        output: the new training file; that of the first part, with `config.split`.
        against: benchmarks to decontaminate against, see `read_held`.
        say: prints a line that is always shown; tell: one that is not with --quiet.
        fail: told of each row that fails, with `config.on_error` "skip".
    Raises:
        UsageError: an output that cannot be written.
        InputError: the set is not there, or a row cannot be used.
    """
    _check_output(output, config)
    say(licence_line(public_set))
    media = MediaFolder(output.parent / f"{output.stem}-media", prefix=f"{output.stem}-media")
    revision = config.revision or public_set.revision
    source = open_source(
        public_set.hub_id,
        revision,
        files=public_set.files,
        archives=public_set.media,
        data=config.data,
        media=config.media,
        keep=media,
        copies=True,
    )
    say(f"read from {source.name}" + (f" at {source.revision}" if source.revision else " (a local copy)"))
    source.data_files(public_set.files)
    held = read_held(against, tell, skip=config.on_error == "skip")
    outputs = tuple(
        output.with_name(f"{output.stem}{ending}{output.suffix}") for ending in PARTS[: len(config.shares)]
    )
    conversion = Conversion(public_set, config, source, outputs, held, fail)
    _write(conversion)
    for line in conversion.counts.describe():
        tell(line)
    if conversion.counts.written == 0:
        raise InputError("gave no group", where=source.name, hint=_why_none(conversion))
    return conversion


def _check_output(output: Path, config: DataConfig) -> None:
    check_card(output.parent)
    if config.data is not None and output.exists() and config.data.exists() and output.samefile(config.data):
        raise UsageError("the output would overwrite the set itself", where=str(output))


def licence_line(public_set: PublicSet) -> str:
    """What is said first."""
    verified = "columns verified against" if public_set.is_verified else "COLUMNS NOT VERIFIED, guessed from"
    return f"{public_set.title}: licence {public_set.licence}; {verified} {public_set.basis}"


def _why_none(conversion: Conversion) -> str:
    reasons = [f"{count:,} rows: {reason}." for reason, count in conversion.counts.left_out.most_common(3)]
    return "\n".join(reasons)


def _write(conversion: Conversion) -> None:
    outputs, config = conversion.outputs, conversion.config
    conversion.written = [0] * len(outputs)
    with ExitStack() as stack:
        files = [stack.enter_context(open_result(path, overwrite=config.overwrite)) for path in outputs]
        card_path = None
        for part, line in _lines(conversion):
            if card_path is None:
                card_path = write_card(outputs[0], _card(conversion, is_complete=False))
            files[part].write(line)
            conversion.written[part] += 1
        if card_path is not None:
            for file in files:
                file.flush()
            write_card(outputs[0], _card(conversion, is_complete=True))


def _lines(conversion: Conversion) -> Iterator[tuple[int, str]]:
    """Part and line of each group."""
    config, counts, keep = conversion.config, conversion.counts, conversion.source.keep
    for where, row in conversion.source.rows(conversion.public_set.files):
        counts.rows += 1
        mark = keep.mark()
        try:
            with errors_at(where):
                made = _convert_row(conversion, row, where)
        except YojError as error:
            keep.undo(mark)
            if config.on_error == "stop":
                raise
            counts.failed += 1
            conversion.fail(error)
            continue
        if made is None:
            keep.undo(mark)
            continue
        line, group = made
        _count(conversion, group)
        yield _part(conversion, group), line
        if config.limit is not None and counts.written >= config.limit:
            return


def _convert_row(conversion: Conversion, row: Any, where: str) -> tuple[str, Group] | None:
    """The line and the group it is; None where the row is left out or dropped, which is counted."""
    counts, config, held = conversion.counts, conversion.config, conversion.held
    try:
        record = conversion.public_set.convert(row)
    except LeftOutError as reason:
        counts.left_out[str(reason)] += 1
        return None
    if config.n is not None and len(record["responses"]) > config.n:
        record = draw(record, config.n, f"{config.seed}:{where}")
        counts.drawn += 1
    record = conversion.source.keep_media(record, where)
    group = parse(record, where=where, folder=conversion.outputs[0].parent)
    try:
        line = render_json(record) + "\n"
    except (TypeError, ValueError) as error:  # a date, bytes: parquet has more than JSON
        raise InputError(f"the row holds a value that JSON has not: {error}") from error
    by_text, by_media = held.has_text(group), held.has_media(group)
    counts.contaminated_text += by_text
    counts.contaminated_media += by_media
    if by_text or by_media:
        counts.contaminated += 1
        return None
    return line, group


def draw(record: Record, n: int, seed: str) -> Record:
    """A record with n of its responses, in their order, ranked among themselves."""
    places = sorted(random.Random(seed).sample(range(len(record["responses"])), n))
    ranks = rank_ratings([-record["rankings"][place] for place in places])
    drawn = dict(record)
    size = len(record["responses"])
    for key, value in record.items():
        if isinstance(value, list) and len(value) == size and key not in ("messages", "images", "videos"):
            drawn[key] = [value[place] for place in places]
    return {**drawn, "rankings": [int(rank) for rank in ranks]}


def _count(conversion: Conversion, group: Group) -> None:
    counts, rankings = conversion.counts, group.rankings or ()
    counts.written += 1
    counts.by_n_responses[len(rankings)] += 1
    counts.with_ties += len(set(rankings)) < len(rankings)
    counts.all_tied += len(set(rankings)) == 1
    counts.corrected += "corrected_scores" in group.record
    if conversion.held.sources:
        counts.unchecked_media += sum(is_remote(each) for each in group.media)
    conversion.seen.add(group, counts)


def _part(conversion: Conversion, group: Group) -> int:
    """Where a prompt goes: the same for all its groups, whatever came before."""
    key = f"{conversion.config.seed}\0{prompt_key(group, whole=False)}".encode("utf-8", "surrogatepass")
    place = int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64
    shares = conversion.config.shares
    for part in range(len(shares) - 1):
        if place < sum(shares[: part + 1]):
            return part
    return len(shares) - 1


def _card(conversion: Conversion, *, is_complete: bool) -> dict[str, Any]:
    public_set, source, config = conversion.public_set, conversion.source, conversion.config
    conversion.counts.media_files = source.keep.n_files
    options = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()}
    return {
        "set": public_set.name,
        "title": public_set.title,
        "licence": public_set.licence,
        "source": source.name,
        "revision": source.revision or None,
        "columns_verified": public_set.is_verified,
        "columns_basis": public_set.basis,
        "complete": is_complete,
        "parts": {path.name: n for path, n in zip(conversion.outputs, conversion.written, strict=True)},
        "counts": conversion.counts.as_document(),
        "decontaminated": conversion.held.sources,
        "options": {key: options[key] for key in ("split", "n", "seed", "limit", "on_error")},
        "made_by": f"yoj-cli {__version__}",
    }
