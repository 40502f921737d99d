"""Requests for one response each, gathered by prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from yoj_cli.errors import InputError
from yoj_cli.serve.cohort import Cohorts, Share


class Scorer:
    """Scores a response by its place and the size of its group; remembers what it was asked."""

    def __init__(self) -> None:
        self.groups: list[tuple[str, list[str]]] = []
        self.failing = False

    async def __call__(self, prompt: str, responses: Sequence[str]) -> list[tuple[float, float]]:
        self.groups.append((prompt, list(responses)))
        await asyncio.sleep(0)
        if self.failing:
            raise InputError("cannot be scored")
        return [(len(responses) * 10.0 + place, 0.5) for place in range(len(responses))]


Story = Callable[[Scorer, Cohorts], Awaitable[None]]


def play(story: Story, *, size: int = 3, timeout_s: float = 5.0, kept_s: float = 900.0) -> Scorer:
    scorer = Scorer()

    async def run() -> None:
        await story(scorer, Cohorts(scorer, size=size, timeout_s=timeout_s, kept_s=kept_s))

    asyncio.run(asyncio.wait_for(run(), 10))
    return scorer


async def begin(cohorts: Cohorts, *arguments: str, **others: Any) -> asyncio.Task[Share]:
    """A request that has arrived."""
    task = asyncio.create_task(cohorts.join(*arguments, **others))
    await asyncio.sleep(0)
    return task


async def hang_up(request: asyncio.Task[Share]) -> None:
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


def test_the_responses_of_one_prompt_are_scored_as_one_group_and_each_gets_its_own_score() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        found = await asyncio.gather(*(cohorts.join("p", text) for text in "abc"))
        assert [share.score for share in found] == [30.0, 31.0, 32.0]
        assert all(share.is_complete for share in found)

    assert play(story).groups == [("p", ["a", "b", "c"])]


def test_prompts_do_not_mix_and_the_next_cohort_of_a_prompt_is_a_new_group() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        await asyncio.gather(*(cohorts.join(prompt, text) for text in "abcd" for prompt in "pq"))

    found = play(story, size=2).groups
    assert sorted(found) == [("p", ["a", "b"]), ("p", ["c", "d"]), ("q", ["a", "b"]), ("q", ["c", "d"])]


def test_one_prompt_of_two_owners_makes_two_cohorts() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        asked = [(text, owner) for text in "ab" for owner in ("key 1", "key 2")]
        await asyncio.gather(*(cohorts.join("p", text, "1" + text, owner=owner) for text, owner in asked))
        other = await begin(cohorts, "p", "other text", "1a", owner="key 3")  # their ids are their own, too
        await hang_up(other)

    assert play(story, size=2).groups == [("p", ["a", "b"])] * 2


def test_a_response_whose_client_has_gone_keeps_its_room_until_it_is_scored() -> None:
    kept: list[int] = []

    def keep() -> Callable[[], None]:
        kept.append(1)
        return kept.pop

    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        for _ in range(2):  # it comes again, and goes again
            await hang_up(await begin(cohorts, "p", "a", keep=keep))
            assert kept == [1]
        await asyncio.gather(*(cohorts.join("p", text, keep=keep) for text in "bc"))
        await asyncio.sleep(0)
        assert kept == []

    play(story)


def test_texts_are_forgotten_once_they_are_scored() -> None:
    """What is remembered for retries must not grow with pictures and long responses."""

    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        for failing in (False, True):
            scorer.failing = failing
            asked = [cohorts.join("p" * 9999, text * 9999) for text in "abc"]
            await asyncio.gather(*asked, return_exceptions=True)
            scorer.groups.clear()
        await asyncio.sleep(0)
        assert "aaaa" not in repr(vars(cohorts))
        assert "pppp" not in repr(vars(cohorts))

    play(story)


def test_a_cohort_that_stays_incomplete_is_scored_after_the_timeout_and_says_so() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        found = await asyncio.gather(cohorts.join("p", "a"), cohorts.join("p", "b"))
        assert found == [Share(20.0, 0.5, 2, 3), Share(21.0, 0.5, 2, 3)]
        assert not found[0].is_complete

    play(story, timeout_s=0.05)


def test_two_equal_completions_with_open_connections_are_two_members() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        found = await asyncio.gather(*(cohorts.join("p", text) for text in ("same", "same", "c")))
        assert [share.score for share in found] == [30.0, 31.0, 32.0]

    assert play(story).groups == [("p", ["same", "same", "c"])]


def test_a_retry_after_a_lost_connection_takes_its_old_place() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        await hang_up(await begin(cohorts, "p", "a"))
        assert cohorts.n_waiting == 1
        again = await begin(cohorts, "p", "a")
        assert cohorts.n_waiting == 1
        found = await asyncio.gather(again, cohorts.join("p", "b"), cohorts.join("p", "c"))
        assert [share.score for share in found] == [30.0, 31.0, 32.0]

    assert len(play(story).groups) == 1


def test_a_retry_after_the_cohort_was_scored_gets_the_score_of_then() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        await hang_up(await begin(cohorts, "p", "a"))
        await asyncio.gather(cohorts.join("p", "b"), cohorts.join("p", "c"))
        assert await cohorts.join("p", "a") == Share(30.0, 0.5, 3, 3)

    assert len(play(story).groups) == 1


def test_the_same_text_after_an_answer_is_another_completion() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        await asyncio.gather(*(cohorts.join("p", text) for text in "abc"))
        await asyncio.gather(*(cohorts.join("p", text) for text in "abc"))

    assert len(play(story).groups) == 2


def test_a_request_id_tells_a_retry_from_a_duplicate_while_both_are_open() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        asked = (("same", "1"), ("same", "1"), ("same", "2"), ("c", "3"))
        found = await asyncio.gather(*(cohorts.join("p", text, name) for text, name in asked))
        assert [share.score for share in found] == [30.0, 30.0, 31.0, 32.0]
        assert (await cohorts.join("p", "c", "3")).score == 32.0  # answered, and asked again

    assert play(story).groups == [("p", ["same", "same", "c"])]


def test_a_request_id_of_another_response_is_refused() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        first = await begin(cohorts, "p", "a", "1")
        with pytest.raises(InputError, match="'1' was used for another response"):
            await cohorts.join("p", "b", "1")
        await hang_up(first)

    play(story)


def test_a_group_that_cannot_be_scored_is_an_error_for_every_member_and_is_tried_anew() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        scorer.failing = True
        await hang_up(await begin(cohorts, "p", "a"))
        found = await asyncio.gather(*(cohorts.join("p", text) for text in "bc"), return_exceptions=True)
        assert [str(error) for error in found] == ["cannot be scored"] * 2
        scorer.failing = False
        again = await asyncio.gather(*(cohorts.join("p", text) for text in "abc"))
        assert [share.score for share in again] == [30.0, 31.0, 32.0]

    assert len(play(story).groups) == 2


def test_what_waits_is_scored_at_the_end_of_the_server() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        waiting = await begin(cohorts, "p", "a")
        cohorts.close_all()
        assert await waiting == Share(10.0, 0.5, 1, 3)
        assert cohorts.n_waiting == 0

    play(story, timeout_s=60)


def test_answered_cohorts_are_forgotten_in_time() -> None:
    async def story(scorer: Scorer, cohorts: Cohorts) -> None:
        for prompt in "pqr":
            await hang_up(await begin(cohorts, prompt, "a"))
            await cohorts.join(prompt, "b")
        await asyncio.sleep(0.06)
        await hang_up(await begin(cohorts, "s", "a"))
        assert len(cohorts._by_text) == 1

    play(story, size=2, kept_s=0.05)
