"""The library as a program with types uses it; mypy reads this file, nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator

import yoj_cli
from yoj_cli import Failure, Group, Judge, Media, MediaOptions, Message, Verdict, YojError, read_groups


def best_of(judge: yoj_cli.Judge, responses: list[str]) -> int:
    verdict: Verdict = judge.score(prompt="p", images=["a.png"], responses=responses)
    agreement: float | None = verdict.order_agreement
    scores: tuple[float, ...] = verdict.scores
    return verdict.best if agreement is None or scores else verdict.n_orders


def score_all(path: str) -> Iterator[Verdict]:
    with Judge.load("demo", orders=2) as judge:
        groups: Iterator[Group | Failure] = read_groups(path)
        yield from (item for item in judge.score_groups(groups) if not isinstance(item, Failure))
        for item in judge.score_groups([{"prompt": "p", "responses": ["a"]}], media=MediaOptions()):
            if isinstance(item, Failure):
                error: YojError = item.error
                raise error
            yield item
        wrong: str = judge.score(responses=["a"]).best  # type: ignore[assignment]
        judge.no_such_thing()  # type: ignore[attr-defined]
        yoj_cli.NoSuchThing  # type: ignore[attr-defined]  # noqa: B018
        yield from judge.score_groups([wrong])  # type: ignore[list-item,misc]


def make_group() -> Group:
    picture = Media("image", "a.png")
    return Group("1", (Message("user", (picture, "What is this?")),), ("a cat", "a dog"))
