"""Order bias: where the best response was read, and winners that flip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.judged import FILE, make_judged
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.evaluate.evaluation import Evaluation, evaluate
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.order import Reading
from yoj_cli.evaluate.positions import measure_flips, measure_positions
from yoj_cli.evaluate.score import judge_groups
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import parse
from yoj_cli.verdicts.verdict import Verdict, build_verdict


class FirstWins:
    """A judge that always takes what it reads first, and is sure of it."""

    mode = "multi"
    config = JudgeConfig(model="first")
    description: dict[str, Any] = {"model": "first", "mode": "multi"}  # noqa: RUF012

    def score_groups(
        self, groups: Iterable[Group | Failure], *, media: MediaOptions | None = None
    ) -> Iterator[Verdict | Failure]:
        for group in groups:
            if isinstance(group, Failure):
                yield group
            else:
                assert group.rankings is None, "a judge sees no gold"
                yield build_verdict(group, [float(-place) for place in range(len(group.responses))])


def groups_with_the_best_first(n_groups: int, n: int) -> list[Group]:
    records = (
        {
            "prompt": f"question {i}",
            "responses": [f"{i} {j}" for j in range(n)],
            "rankings": [*range(1, n + 1)],
        }
        for i in range(n_groups)
    )
    return [parse(record, where=f"data.jsonl:{i}", default_id=str(i)) for i, record in enumerate(records, 1)]


def evaluate_first_wins(reading: Reading, n: int = 4, n_groups: int = 400) -> Evaluation:
    found = judge_groups(FirstWins(), groups_with_the_best_first(n_groups, n), reading, MediaOptions())
    return evaluate([each for each in found if isinstance(each, Judged)], FILE)


def test_a_judge_that_takes_the_first_is_at_chance_and_its_bias_is_in_the_table() -> None:
    found = evaluate_first_wins(Reading())
    best = found.headline[0]
    assert best.low is not None
    assert best.high is not None
    assert best.low < 0.25 < best.high
    places = found.positions[0].places
    assert [place.accuracy for place in places] == [1, 0, 0, 0]
    assert [place.share_won for place in places] == [1, 0, 0, 0]
    assert places[0].is_shown
    assert places[0].difference == 1
    assert found.flips is not None
    assert found.flips.share == 1


def test_as_given_it_would_be_perfect_and_so_is_the_baseline() -> None:
    found = evaluate_first_wins(Reading(as_given=True), n_groups=50)
    assert found.headline[0].value == 1
    assert dict(found.baselines)["first in the file wins"][0].value == 1


def test_scores_come_back_to_their_responses_and_the_line_says_what_was_read() -> None:
    groups = groups_with_the_best_first(20, 3)
    for found in judge_groups(FirstWins(), groups, Reading(seed=5), MediaOptions()):
        assert isinstance(found, Judged)
        assert found.order is not None
        assert found.scores.index(max(found.scores)) == found.order[0]
        assert found.reversed_scores is not None
        assert found.reversed_scores.index(max(found.reversed_scores)) == found.order[-1]
        assert found.record["judge"]["order"] == list(found.order)
        assert found.record["responses"] == list(found.group.responses if found.group else ())
        assert found.rankings == (1, 2, 3)


def test_two_judges_with_one_seed_read_the_same_orders() -> None:
    orders = [[Reading(seed=seed).order_of(number, 4) for number in range(50)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_failed_group_costs_itself_with_both_its_readings() -> None:
    class FailsOnce(FirstWins):
        def score_groups(
            self, groups: Iterable[Group | Failure], *, media: MediaOptions | None = None
        ) -> Iterator[Verdict | Failure]:
            from yoj_cli.errors import MediaError

            for item in super().score_groups(groups, media=media):
                is_bad = isinstance(item, Verdict) and item.group.id == "2"
                yield Failure("", item.group.record, MediaError("gone")) if is_bad else item  # type: ignore[union-attr]

    found = list(judge_groups(FailsOnce(), groups_with_the_best_first(3, 2), Reading(), MediaOptions()))
    assert [isinstance(each, Failure) for each in found] == [False, True, False]
    assert isinstance(found[2], Judged)
    assert found[2].id == "3"


def test_the_table_by_hand() -> None:
    judged = [
        make_judged((1, 0), (1, 2), number=1, order=(0, 1)),  # the best read first, right
        make_judged((0, 1), (1, 2), number=2, order=(0, 1)),  # first, wrong
        make_judged((1, 0), (1, 2), number=3, order=(1, 0)),  # second, right
        make_judged((1, 1), (1, 2), number=4, order=(1, 0)),  # second, tied
        make_judged((1, 0), (1, 1), number=5, order=(1, 0)),  # says nothing
        make_judged((1, 0), (1, 2), number=6, order=None),  # nobody knows
        make_judged((1, 0), (1, 2), number=7, order=(0, 1), n_orders=2),  # both places
    ]
    (table,) = measure_positions(judged)
    assert table.n_groups == 4
    first, second = table.places
    assert (first.n, first.accuracy, second.n, second.accuracy) == (2, 0.5, 2, 0.75)
    assert first.difference == -0.25
    assert second.share_won == pytest.approx((1 + 1 + 0.5) / 4)


def test_a_place_without_groups_has_no_figure() -> None:
    (table,) = measure_positions([make_judged((1, 0), (1, 2), order=(0, 1))])
    assert math.isnan(table.places[1].accuracy)
    assert not table.places[1].is_shown


def test_flips_by_hand() -> None:
    judged = [
        make_judged((1, 0), (1, 2), number=1, reversed_scores=(2.0, 1.0)),
        make_judged((1, 0), (1, 2), number=2, reversed_scores=(1.0, 2.0)),
        make_judged((1, 0), None, number=3, order_agreement=0.5, n_orders=2),
        make_judged((1, 0), (1, 2), number=4),
    ]
    found = measure_flips(judged)
    assert found is not None
    assert (found.n, found.n_flipped) == (3, 2)
    assert measure_flips(judged[3:]) is None
