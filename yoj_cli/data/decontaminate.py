"""What of a benchmark may not be trained on: its prompts by their normalised text, its pictures by their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yoj_cli.errors import InputError, MediaError, UsageError
from yoj_cli.evaluate.benchmarks import BENCHMARKS
from yoj_cli.evaluate.judged import normalise
from yoj_cli.evaluate.sets import PAPER, benchmark_source, find_benchmark, read_benchmark
from yoj_cli.groups import Failure, Group, Media, scheme_of
from yoj_cli.records.parse import read_groups

CHUNK_BYTES = 1 << 20


@dataclass
class Held:
    """What benchmarks hold.

    Attributes:
        texts: digests of normalised prompts.
        media: digests of pixels, or of a clip's bytes.
        sources: for the card: name, source, revision, and how many prompts and media there are.
    """

    texts: set[bytes] = field(default_factory=set)
    media: set[str] = field(default_factory=set)
    sources: list[dict[str, object]] = field(default_factory=list)

    def has_text(self, group: Group) -> bool:
        text = normalise(group.prompt)
        return bool(text) and _digest(text) in self.texts

    def has_media(self, group: Group) -> bool:
        """Whether a picture or clip of the group is in a benchmark; addresses are not looked at.

        Raises:
            MediaError: it cannot be read.
        """
        return bool(self.media) and any(
            media_digest(each) in self.media for each in group.media if not is_remote(each)
        )


def read_held(names: Sequence[str], say: Callable[[str], None], *, skip: bool) -> Held:
    """Read benchmarks whole.

    Args:
        names: of benchmarks, "paper" for the paper's six, NAME=PATH for a local copy, or a JSON Lines file.
        skip: go on where a row or picture of a benchmark cannot be read; else that is an error.
    Raises:
        UsageError: an unknown name.
        InputError: a benchmark that is not there or cannot be read.
    """
    held = Held()
    for name in [each for given in names for each in (PAPER if given == "paper" else (given,))]:
        _read_one(name, held, say, skip)
    return held


def _read_one(name: str, held: Held, say: Callable[[str], None], skip: bool) -> None:
    known, _, copy = name.partition("=")
    benchmark = find_benchmark(known)
    if benchmark is not None:
        source = benchmark_source(benchmark, Path(copy) if copy else None)
        groups, where, revision = read_benchmark(benchmark, source), source.name, source.revision
    elif Path(name).is_file():
        groups, where, revision = read_groups(name), name, ""
    else:
        raise UsageError(
            f"{known!r} is no benchmark and no file",
            where="--decontaminate",
            hint=f"Name a JSON Lines file, 'paper', or one of: {', '.join(each.name for each in BENCHMARKS)}; "
            "NAME=PATH reads a local copy.",
        )
    texts, media, n_failed = set(), set(), 0
    for item in groups:
        try:
            if isinstance(item, Failure):
                raise item.error
            texts |= {_digest(text) for text in _texts_of(item) if text}
            media |= {media_digest(each) for each in item.media if not is_remote(each)}
        except InputError as error:
            if not skip:
                error.hint = f"{error.hint}\nTo go on without it: --on-error skip.".lstrip()
                raise error.at(f"--decontaminate {known}") from error
            n_failed += 1
    held.texts |= texts
    held.media |= media
    found = {"name": known, "source": where, "revision": revision, "prompts": len(texts), "media": len(media)}
    held.sources.append({**found, "unreadable": n_failed})
    failed = f"; {n_failed:,} of its groups cannot be read" if n_failed else ""
    say(f"compared with {known}: {len(texts):,} prompts, {len(media):,} pictures and clips{failed}")


def _texts_of(group: Group) -> set[str]:
    """The last user turn's text, and the first block of it: a benchmark may put instructions of its own behind."""
    blocks = [block for block in group.messages[-1].blocks if isinstance(block, str)]
    return {normalise(group.prompt), *(normalise(block) for block in blocks[:1])}


def is_remote(media: Media) -> bool:
    return isinstance(media.source, str) and scheme_of(media.source) in ("http", "https")


def media_digest(media: Media) -> str:
    """Of a picture's pixels; of the bytes of a clip, or of all frames in their order.

    Raises:
        MediaError: it cannot be read.
    """
    from yoj_cli.media.files import is_folder, open_file

    if media.kind == "image":
        from yoj_cli.media.load import Picture, load

        picture = load(media)
        assert isinstance(picture, Picture)
        return picture.digest
    digest = hashlib.sha256()
    if is_folder(media):
        paths = sorted(Path(media.path).iterdir(), key=lambda path: (len(path.stem), path.name))
        frames = [Media("image", str(path), root=media.root) for path in paths if path.is_file()]
        if not frames:
            raise MediaError("the folder holds no frames", where=str(media.source))
        for frame in frames:
            digest.update(media_digest(frame).encode())
        return digest.hexdigest()
    with open_file(media) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
