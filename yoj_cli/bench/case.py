"""One group as sequences, for every way to read it that is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yoj_cli.plan.branches import Plan, build_plan
from yoj_cli.sequence.packed import PackedSequence


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
    """One group as sequences, for every way to read it.

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


def build_case(
    build: Callable[[Sequence[int], Plan], PackedSequence], n: int, orders: int, seed: int
) -> Case:
    """All sequences of a group.

    Args:
        build: builds the sequence of some of the group's responses (by index), by a plan for as many.
        n: responses of the group.
        orders: for (f); a group with fewer has all of them.
    """
    every, plan = range(n), build_plan(n, orders=orders, seed=seed)
    return Case(
        alone=tuple(build([index], build_plan(1)) for index in every),
        single=build(every, build_plan(n, mode="single")),
        multi=build(every, build_plan(n)),
        orders=build(every, plan),
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
