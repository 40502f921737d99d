"""The groups that are read: real ones, drawn ones through a judge's own tokenizer, or random token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import torch
from torch import Tensor

from yoj_cli.bench.pictures import draw_clip, draw_noise, find_n_frames, find_side
from yoj_cli.errors import InputError, TooLongError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.load import Clip, Picture, load
from yoj_cli.media.options import MediaOptions
from yoj_cli.model.backbone import Backbone
from yoj_cli.plan.branches import Plan, build_plan
from yoj_cli.records.parse import parse, read_groups
from yoj_cli.scoring.judge import Judge
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.media_inputs import Processed
from yoj_cli.sequence.packed import PackedSequence, Span, share_prefix

DRAWN = "drawn"
"""What stands for the path of a clip that never was in a file."""
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Sizes:
    """What a drawn group is to measure, in tokens.

    Attributes:
        prompt: the question; the chat template's own tokens come on top.
        response: each response.
        picture, clip: 0 for none; one of the two is 0.
    """

    prompt: int
    response: int
    picture: int
    clip: int = 0


@dataclass(frozen=True)
class Case:
    """One group, laid out for every way to read it.

    Attributes:
        alone: for each response, a group of its own.
        single: a branch for each response.
        multi: one branch with all responses.
        orders: a branch for each order of `plan`.
    """

    alone: tuple[PackedSequence, ...]
    single: PackedSequence
    multi: PackedSequence
    orders: PackedSequence
    plan: Plan

    @property
    def n(self) -> int:
        return len(self.alone)


@dataclass(frozen=True)
class Medium:
    """What stands for a picture or a clip where there is no checkpoint's processor.

    Attributes:
        kind: "image" or "video".
        inputs: pixel tensors and grids, by the model's argument names.
        runs: its tokens in the sequence: one run for a picture, one for each moment of a clip.
    """

    kind: str
    inputs: dict[str, Tensor]
    runs: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        return sum(self.runs)


def build_case(
    lay_out: Callable[[Sequence[int], Plan], PackedSequence], n: int, orders: int, seed: int
) -> Case:
    """All sequences of a group.

    Args:
        lay_out: lays out some of the group's responses (by index) as a group, by a plan for as many.
        n: responses of the group.
        orders: for (f); a group with fewer has all of them.
    """
    every, plan = range(n), build_plan(n, orders=orders, seed=seed)
    return Case(
        alone=tuple(lay_out([index], build_plan(1)) for index in every),
        single=lay_out(every, build_plan(n, mode="single")),
        multi=lay_out(every, build_plan(n)),
        orders=lay_out(every, plan),
        plan=plan,
    )


def count_media_tokens(sequence: PackedSequence) -> tuple[int, int]:
    """Tokens of a sequence's pictures, and of its clips."""
    n_tokens, n_of_clips = sequence.n_media_tokens, int((sequence.media_types == 2).sum())
    if (
        not n_of_clips and "pixel_values_videos" in sequence.media_inputs
    ):  # Molmo2 has one type for both, and one kind
        n_of_clips = n_tokens
    return n_tokens - n_of_clips, n_of_clips


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
            group = parse(record, where=f"drawn group {index}")
            cases.append(self._build(group, MediaOptions(), orders, seed, clips))
        return cases

    def read(
        self, path: str, n: int, *, n_groups: int, orders: int, seed: int, media: MediaOptions
    ) -> list[Case]:
        """The first groups of a file that have n responses or more, their first n responses each.

        Raises:
            InputError: a line that cannot be used, or no group is large enough.
        """
        cases = []
        for group in _groups(path):
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
        """Lay a group out.

        Args:
            clips: drawn ones, which are all of the group's media; without any the media are loaded.
        """
        try:
            loaded: list[Picture | Clip] = list(clips) or [load(medium, media) for medium in group.media]

            def lay_out(indices: Sequence[int], plan: Plan) -> PackedSequence:
                some = replace(group, responses=tuple(group.responses[index] for index in indices))
                return self._builder.build(some, loaded, plan)

            return build_case(lay_out, len(group.responses), orders, seed)
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
            loaded = [load(medium, MediaOptions()) for medium in group.media]
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


def _groups(path: str) -> Iterator[Group]:
    for item in read_groups(path):
        if isinstance(item, Failure):
            raise item.error
        yield item


def draw_ids(
    backbone: Backbone,
    n: int,
    sizes: Sizes,
    media: Sequence[Medium | None],
    *,
    orders: int,
    seed: int,
) -> list[Case]:
    """Groups of random token ids, for a backbone without a tokenizer; exactly as large as asked for.

    The picture or clip stands before the prompt, each moment of a clip behind one token for its time, and one
    separator token between two responses.

    Args:
        media: one for each group, or None.
    """
    image_id, video_id = _media_ids(backbone)
    n_ids = min(int(backbone.text_config.vocab_size), image_id, video_id)
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for medium in media:
        prompt = torch.randint(1, n_ids, (sizes.prompt,), generator=generator).tolist()
        prefix: list[int] = []
        for run in medium.runs if medium else ():
            is_clip = medium is not None and medium.kind == "video"
            prefix += [CLIP_TIME, *[video_id] * run] if is_clip else [image_id] * run
        prefix += prompt
        texts = torch.randint(1, n_ids, (n, sizes.response), generator=generator).tolist()
        lay_out = partial(lay_out_ids, backbone, prefix, medium, texts)
        cases.append(build_case(lay_out, n, orders, seed))
    return cases


def _media_ids(backbone: Backbone) -> tuple[int, int]:
    """The tokens that pictures and clips stand at."""
    model_config: Any = backbone.model.config
    return int(model_config.image_token_id), int(model_config.video_token_id)


CLIP_TIME = 1
"""A text token: where a clip's time would stand."""


def lay_out_ids(
    backbone: Backbone,
    prefix: list[int],
    medium: Medium | None,
    responses: list[list[int]],
    indices: Sequence[int],
    plan: Plan,
) -> PackedSequence:
    """A sequence of token ids, as `SequenceBuilder` makes one of texts.

    Args:
        prefix: the medium's tokens, then the prompt's.
        responses: ids of each, at least one.
        indices: the responses that are laid out; `plan` is for as many.
    """
    responses = [responses[index] for index in indices]
    sequences = [_join(prefix, [responses[index] for index in branch]) for branch in plan.branches]
    first = torch.tensor(sequences[0][0])
    image_id, video_id = _media_ids(backbone)
    # Molmo2 has one token, and one type, for both.
    media_types = torch.where(first == image_id, 1, torch.where(first == video_id, 2, 0))
    inputs = medium.inputs if medium else {}
    positions = backbone.positions(first[None], media_types[None], inputs)
    return share_prefix(sequences, positions, media_types, Processed(None, inputs, {}))


def _join(prefix: list[int], responses: Sequence[list[int]]) -> tuple[list[int], list[Span]]:
    """The ids of a pass with token 0 between two responses, and each one's first and last token."""
    ids, spans = list(prefix), list[Span]()
    for place, response in enumerate(responses):
        ids += [0] * (place > 0) + response
        spans.append((len(ids) - len(response), len(ids) - 1))
    return ids, spans
