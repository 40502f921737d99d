"""Ranks, P(best), agreement and the output line."""

from __future__ import annotations

import json
import math
import random
import struct
from typing import Any

import pytest

from yoj_cli.errors import MediaError
from yoj_cli.groups import Group, Message
from yoj_cli.verdicts.agreement import Agreement, Summary, agreement
from yoj_cli.verdicts.record import shortest_float32, to_error_record, to_record
from yoj_cli.verdicts.verdict import build_verdict, p_best, rank

JUDGE = {"model": "demo", "mode": "multi"}


def make_group(n: int, rankings: tuple[float, ...] | None = None, **extra: Any) -> Group:
    responses = tuple(f"answer {i}" for i in range(n))
    record = {"prompt": "Why?", "responses": list(responses), **extra}
    return Group("g1", (Message("user", ("Why?",)),), responses, rankings, record, "data.jsonl:1")


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [
        ((0.5, 2.0, -1.0), (2, 1, 3)),
        ((3, 2, 2, 1), (1, 2, 2, 4)),
        ((1, 1, 1), (1, 1, 1)),
        ((0.0, -0.0), (1, 1)),
        ((7,), (1,)),
    ],
)
def test_ties_share_the_better_rank(scores: tuple[float, ...], ranks: tuple[int, ...]) -> None:
    assert rank(scores) == ranks


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="response 1 is"):
        rank((0.0, bad))
    with pytest.raises(ValueError, match="response 1 is"):
        p_best((0.0, bad))


def test_p_best_is_the_softmax() -> None:
    assert p_best((math.log(1), math.log(2), math.log(5))) == pytest.approx((1 / 8, 2 / 8, 5 / 8))
    assert p_best((3.0, 3.0)) == (0.5, 0.5)


def test_p_best_is_stable_far_from_zero() -> None:
    assert p_best((1e30, 0.0)) == (1.0, 0.0)
    assert p_best((-5000.0, -5001.0)) == pytest.approx(p_best((0.0, -1.0)))


def test_a_verdict_knows_the_best_and_the_order() -> None:
    verdict = build_verdict(make_group(4), (1.0, 2.0, 0.0, 2.0))
    assert (verdict.best, verdict.order) == (1, (1, 3, 0, 2))
    assert verdict.ranks == (3, 1, 4, 1)


def test_a_verdict_needs_one_score_a_response() -> None:
    with pytest.raises(ValueError, match="2 responses, but 3 scores"):
        build_verdict(make_group(2), (1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="spread"):
        build_verdict(make_group(2), (1.0, 2.0), spread=(1.0,))


def test_agreement_worked_by_hand() -> None:
    # Pairs in true order: (0,1) right, (0,2) right, (0,3) wrong, (1,2) right, (1,3) wrong, (2,3) wrong.
    one = agreement((3.0, 2.0, 1.0, 4.0), (1, 2, 3, 4))
    assert one == Agreement(best=0.0, chance=0.25, n_pairs=6, n_right=3, tau=0.0)


def test_perfect_and_reversed() -> None:
    assert agreement((3, 2, 1), (1, 2, 3)) == Agreement(1.0, 1 / 3, 3, 3, 1.0)
    assert agreement((1, 2, 3), (1, 2, 3)) == Agreement(0.0, 1 / 3, 3, 0, -1.0)


def test_tied_tops_count_in_part() -> None:
    assert agreement((5, 5, 1), (1, 2, 3)).best == 0.5
    assert agreement((5, 5, 5), (1, 1, 3)).best == pytest.approx(2 / 3)
    assert agreement((5, 1, 1), (1, 1, 3)).best == 1.0


def test_equal_scores_are_wrong_about_a_strict_pair_and_tied_rankings_are_no_pair() -> None:
    one = agreement((1, 1, 0), (1, 2, 2))
    assert (one.n_pairs, one.n_right) == (2, 1)
    # tau-b: 1 right, 0 reversed, 2 pairs strict in each side.
    assert one.tau == pytest.approx(1 / 2)


def test_tau_b_with_ties_worked_by_hand() -> None:
    # Each side orders 5 pairs, 4 of them the same way: (1,2) ties in the rankings, (2,3) in the scores.
    assert agreement((4, 3, 1, 1), (1, 2, 2, 3)).tau == pytest.approx(4 / 5)


def test_scores_that_all_tie_say_nothing() -> None:
    assert agreement((1, 1), (1, 2)) == Agreement(0.5, 0.5, 1, 0, 0.0)


def test_rankings_that_all_tie_ask_nothing() -> None:
    assert agreement((1, 2), (1, 1)) == Agreement(None, None, 0, 0, None)
    assert agreement((1,), (1,)).best is None


def test_agreement_needs_as_many_rankings_as_scores() -> None:
    with pytest.raises(ValueError, match="2 scores, but 3 rankings"):
        agreement((1, 2), (1, 2, 3))


def test_renaming_responses_leaves_agreement_alone() -> None:
    rng = random.Random(0)
    for _ in range(50):
        scores, rankings = [rng.randrange(4) for _ in range(6)], [rng.randrange(1, 4) for _ in range(6)]
        new = rng.sample(range(6), 6)
        assert agreement(scores, rankings) == agreement([scores[i] for i in new], [rankings[i] for i in new])


def test_a_summary_counts_what_it_saw() -> None:
    summary = Summary()
    assert summary.agreement is None
    summary.add(build_verdict(make_group(2, (1, 2)), (1.0, 0.0), n_tokens=10))
    summary.add(build_verdict(make_group(3), (1.0, 0.0, 2.0), n_tokens=5))
    summary.add_failure()
    assert (summary.n_scored, summary.n_failed, summary.n_tokens) == (2, 1, 15)
    assert summary.agreement is not None
    assert summary.agreement.n_groups == 1


def test_means_are_over_groups_and_pairs_are_pooled() -> None:
    summary = Summary()
    for scores, rankings in (((2, 1), (1, 2)), ((1, 2, 3), (1, 2, 3)), ((1,), (1,))):
        summary.add(build_verdict(make_group(len(scores), rankings), scores))
    mean = summary.agreement
    assert mean is not None
    assert (mean.n_groups, mean.best, mean.tau) == (2, 0.5, 0.0)
    assert mean.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert (mean.n_pairs, mean.pairs) == (4, 0.25)


def test_the_output_line_is_the_input_line_and_the_verdict() -> None:
    group = make_group(2, (1, 2), zeta=1, alpha={"b": [None]})
    verdict = build_verdict(group, (float32(0.1), 2.0), spread=(0.5, 0.25))
    record = to_record(verdict, JUDGE)
    assert list(record) == [*group.record, "scores", "ranks", "p_best", "spread", "best", "judge"]
    assert {key: record[key] for key in group.record} == group.record
    assert record["scores"] == [0.1, 2.0]
    assert (record["ranks"], record["best"], record["spread"]) == ([2, 1], 1, [0.5, 0.25])
    assert record["judge"] == JUDGE | {"orders": 1}
    assert "scores" not in group.record


def test_no_spread_no_key() -> None:
    record = to_record(build_verdict(make_group(2), (1.0, 0.0)), JUDGE)
    assert not {"spread", "order_agreement"} & set(record)


def test_the_output_line_says_how_many_orders_agree_and_how_many_were_read() -> None:
    verdict = build_verdict(
        make_group(4), (3.0, 2.0, 1.0, 0.0), spread=(0, 0, 0, 0), order_agreement=2 / 3, n_orders=24
    )
    record = to_record(verdict, JUDGE | {"orders": 99999, "seed": 0})
    assert list(record)[-4:] == ["spread", "order_agreement", "best", "judge"]
    assert record["order_agreement"] == 0.6666667
    assert record["judge"] == JUDGE | {"orders": 24, "seed": 0}


def test_a_summary_counts_the_groups_whose_orders_do_not_agree() -> None:
    summary = Summary()
    for order_agreement in (1.0, 0.75, None, 0.0):
        summary.add(build_verdict(make_group(2), (1.0, 0.0), order_agreement=order_agreement, n_orders=4))
    assert (summary.n_scored, summary.n_reordered, summary.n_changed) == (4, 3, 2)


def test_top_lists_the_best_first() -> None:
    record = to_record(build_verdict(make_group(3), (1.0, 3.0, 2.0)), JUDGE, top=2)
    assert record["top"] == [
        {"index": 1, "rank": 1, "score": 3.0, "response": "answer 1"},
        {"index": 2, "rank": 2, "score": 2.0, "response": "answer 2"},
    ]
    assert len(to_record(build_verdict(make_group(2), (1.0, 3.0)), JUDGE, top=9)["top"]) == 2


def test_an_error_line_says_what_and_where() -> None:
    error = MediaError("no such picture", where="data.jsonl:3", hint="Check --media-root.")
    assert to_error_record({"id": 3, "prompt": "p"}, error) == {
        "id": 3,
        "prompt": "p",
        "error": {"type": "MediaError", "message": "data.jsonl:3: no such picture\nCheck --media-root."},
    }


def test_judging_a_line_again_replaces_the_old_verdict() -> None:
    group = make_group(2)
    first = to_record(
        build_verdict(group, (1.0, 0.0), spread=(1.0, 1.0), order_agreement=0.5), {"model": "old"}, top=1
    )
    again = Group("g1", group.messages, group.responses, None, first)
    record = to_record(build_verdict(again, (0.0, 1.0)), JUDGE)
    assert list(record) == ["prompt", "responses", "scores", "ranks", "p_best", "best", "judge"]
    assert to_error_record(first, ValueError("x")).keys() == {"prompt", "responses", "error"}
    assert to_error_record(to_error_record({"id": 1}, ValueError("x")), ValueError("y")) == {
        "id": 1,
        "error": {"type": "ValueError", "message": "y"},
    }


def test_a_field_of_the_user_with_a_name_of_ours_is_kept_aside() -> None:
    record = to_record(build_verdict(make_group(2, judge="gpt", scores=[9, 8]), (1.0, 0.0)), JUDGE)
    assert record["input_fields"] == {"judge": "gpt", "scores": [9, 8]}
    assert (record["judge"], record["scores"]) == (JUDGE | {"orders": 1}, [1.0, 0.0])


def test_floats_are_written_with_the_fewest_digits_that_keep_the_float32() -> None:
    assert shortest_float32(float32(1.2345678)) == 1.2345678
    assert repr(shortest_float32(float32(0.1))) == "0.1"
    assert shortest_float32(0.0) == 0.0
    assert shortest_float32(-16777216.0) == -16777216.0
    rng = random.Random(0)
    for _ in range(2000):
        value = float32(rng.gauss(0, 1) * 10 ** rng.randrange(-30, 30))
        short = shortest_float32(value)
        assert float32(short) == value
        assert len(json.dumps(short).strip("-").split("e")[0].replace(".", "").lstrip("0").rstrip("0")) <= 9


@pytest.mark.parametrize("value", [1e-45, 1e-300, 3.4028234663852886e38, -3.4028234663852886e38, 1e300])
def test_floats_at_the_edge_survive(value: float) -> None:
    assert shortest_float32(value) == pytest.approx(value, rel=1e-8)
