"""Groups that are read through a judge's own tokenizer: those of a file, or drawn ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from yoj_cli.bench.case import Case, Sizes, build_case
from yoj_cli.bench.pictures import draw_clip, draw_noise, find_n_frames, find_side
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError, TooLongError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.budget import load_group
from yoj_cli.media.load import Clip, Picture
from yoj_cli.media.options import DEFAULTS, MediaOptions
from yoj_cli.plan.branches import Plan, build_plan
from yoj_cli.records.parse import parse, read_groups
from yoj_cli.scoring.judge import Judge
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence

DRAWN = "drawn"
"""What stands for the path of a clip that never was in a file."""
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


class GroupSource:
    """Groups through a judge's own tokenizer, template and picture processor."""

    def __init__(self, judge: Judge) -> None:
        self._backbone = judge.backbone
        self._builder = SequenceBuilder(
            judge.backbone,
            judge.checkpoint.separator,
            judge.role,
            judge.max_tokens,
            where=str(judge.checkpoint.folder),
        )

    def draw(self, n: int, sizes: Sizes, *, n_groups: int, orders: int, seed: int) -> list[Case]:
        """Groups of random words and coloured noise, about as large as asked for.

        Raises:
            InputError: a clip is asked for, and the backbone reads none.
            TooLongError: n such responses are over the judge's limit.
        """
        picture, n_frames = self._find_picture(sizes.picture), self._find_n_frames(sizes.clip)
        cases = []
        for index in range(n_groups):
            random = Random(f"{seed} {index}")
            record: dict[str, object] = {"prompt": self._draw_text(sizes.prompt, random)}
            if picture:
                record["images"] = [draw_noise(picture, seed + index)]
            clips = [draw_clip(n_frames, seed + index)] if n_frames else []
            if clips:
                record["video"] = DRAWN
            record["responses"] = [self._draw_text(sizes.response, random) for _ in range(n)]
            group = parse(record, where=f"drawn group {index}", limits=Limits(max_responses=max(n, 1)))
            cases.append(self._build(group, DEFAULTS, orders, seed, clips))
        return cases

    def read(
        self,
        path: str,
        n: int,
        *,
        n_groups: int,
        orders: int,
        seed: int,
        media_root: Path | None = None,
        media: MediaOptions = DEFAULTS,
        limits: Limits = LIMITS,
    ) -> list[Case]:
        """The first groups of a file that have n responses or more, their first n responses each.

        Raises:
            InputError: a line that cannot be used, or no group is large enough.
        """
        cases = []
        for group in _groups(path, media_root, limits):
            if len(group.responses) >= n:
                group = replace(group, responses=group.responses[:n], rankings=None)
                cases.append(self._build(group, media, orders, seed))
            if len(cases) == n_groups:
                break
        if not cases:
            raise InputError(f"no group has {n} responses", where=path, hint="Give a smaller --n.")
        return cases

    def _build(
        self, group: Group, media: MediaOptions, orders: int, seed: int, clips: Sequence[Clip] = ()
    ) -> Case:
        """All sequences of a group.

        Args:
            clips: drawn ones, which are all of the group's media; without any the media are loaded.
        """
        try:
            loaded: list[Picture | Clip] = list(clips) or load_group(group.media, media)

            def build(indices: Sequence[int], plan: Plan) -> PackedSequence:
                some = replace(group, responses=tuple(group.responses[index] for index in indices))
                return self._builder.build(some, loaded, plan)

            return build_case(build, len(group.responses), orders, seed)
        except InputError as error:
            if isinstance(error, TooLongError):  # its own advice names options of other commands
                error.hint = "Give a smaller --n, or shorter texts."
            raise error.at(group.where) from error.__cause__

    def _find_picture(self, n_tokens: int) -> int | None:
        """Side in pixels; None for no picture, or where the backbone reads none."""
        if not n_tokens or not self._backbone.family.reads_media:
            return None

        def count(side_px: int) -> int:
            group = parse({"prompt": "?", "images": [draw_noise(side_px, 0)], "responses": ["."]})
            loaded = load_group(group.media)
            return self._builder.build(group, loaded, build_plan(1)).n_media_tokens

        return find_side(n_tokens, count)

    def _find_n_frames(self, n_tokens: int) -> int:
        """Frames of a drawn clip; 0 for none."""
        if not n_tokens:
            return 0
        group = parse({"prompt": "?", "video": DRAWN, "responses": ["."]})

        def count(n_frames: int) -> int:
            return self._builder.build(group, [draw_clip(n_frames, 0)], build_plan(1)).n_media_tokens

        return find_n_frames(n_tokens, count)

    def _draw_text(self, n_tokens: int, random: Random) -> str:
        """Words until they are about so many tokens: each is counted alone, and a seam may join two tokens."""
        words: list[str] = []
        n_found = 0
        while n_found < n_tokens:
            word = "".join(random.choices(SYLLABLES, k=random.randint(1, 3)))
            n_found += len(self._backbone.tokenizer(" " + word, add_special_tokens=False)["input_ids"])
            words.append(word)
        return " ".join(words)


def _groups(path: str, media_root: Path | None, limits: Limits) -> Iterator[Group]:
    for item in read_groups(path, media_root=media_root, limits=limits):
        if isinstance(item, Failure):
            raise item.error
        yield item
