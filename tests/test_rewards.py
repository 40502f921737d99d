"""From batches to groups, and from scores to rewards: numbers worked by hand."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from tests.verdicts import make_verdict
from yoj_cli.rewards.grouping import cut, cut_by_id, shuffled
from yoj_cli.rewards.metrics import length_correlation, verdict_metrics
from yoj_cli.rewards.rows import read_rows
from yoj_cli.rewards.shaping import shape

A, B, C = b"a", b"b", b"c"


def plain(scores, **options):
    return shape(scores, [10] * len(scores), [False] * len(scores), **options)


def test_scores_are_rewards_as_they_are():
    assert plain([2.0, -1.0, None]) == [2.0, -1.0, None]


def test_softmax_is_p_best_of_what_was_scored():
    e = math.e
    assert plain([1.0, 0.0, None], normalize="softmax") == pytest.approx([e / (e + 1), 1 / (e + 1), None])
    half = math.exp(0.5)
    found = plain([1.0, 0.0], normalize="softmax", temperature=2.0)
    assert found == pytest.approx([half / (half + 1), 1 / (half + 1)])


def test_rank_is_the_share_of_the_others_that_are_beaten():
    assert plain([5.0, 1.0, 3.0], normalize="rank") == [1.0, 0.0, 0.5]
    assert plain([5.0, 5.0, 1.0], normalize="rank") == [0.75, 0.75, 0.0]
    assert plain([5.0, None], normalize="rank") == [0.5, None]


def test_center_takes_the_mean_of_what_was_scored():
    assert plain([4.0, 1.0, None, 1.0], normalize="center") == [2.0, -1.0, None, -1.0]


def test_a_penalty_stands_below_the_lowest_reward():
    assert shape([4.0, 1.0, None], [0] * 3, [False, False, True], penalty=2.0) == [4.0, 1.0, -1.0]
    found = shape([4.0, 1.0, None], [0] * 3, [False, False, True], normalize="rank", penalty=0.25)
    assert found == [1.0, 0.0, -0.25]
    assert shape([None, None], [0, 0], [True, False]) == [-1.0, None]
    assert shape([4.0, 1.0], [0, 0], [True, False]) == [0.0, 1.0]


def test_a_length_penalty_counts_from_the_groups_mean_length():
    found = shape([1.0, 1.0, 1.0], [1000, 2000, 3000], [False] * 3, length_penalty=0.5)
    assert found == [1.5, 1.0, 0.5]
    ignored = shape([1.0, 1.0, None], [1000, 2000, 90_000], [False, False, True], length_penalty=1.0)
    assert ignored == [1.5, 0.5, -0.5]


def test_a_batch_is_cut_where_its_groups_are():
    assert cut([A, A, B, B], [2]) == ([[0, 1], [2, 3]], "")
    assert cut([A, A, A, A], [2]) == ([[0, 1], [2, 3]], "")  # one prompt twice in the data
    assert cut([None, A, B, None], [2]) == ([[0, 1], [2, 3]], "")
    assert cut([A, A, B, B], [4, 2]) == ([[0, 1], [2, 3]], "")
    assert cut([], [4]) == ([], "")


def test_of_a_batch_that_is_cut_wrongly_the_whole_groups_are_found():
    found, problem = cut([A, B, B, B, C], [3])
    assert found == [[1, 2, 3]]
    assert problem == "rows 0 to 2 answer different prompts, and num_generations is 3"
    found, problem = cut([A, A, A, B], [3])
    assert (found, problem) == ([[0, 1, 2]], "4 rows are no multiple of num_generations=3")


def test_rows_that_name_their_group_need_not_follow_each_other():
    assert cut_by_id([1, 2, 1, 2], [A, B, A, B], [2]) == ([[0, 2], [1, 3]], "")
    assert cut_by_id([1, 1, 1], [A, A, A], []) == ([[0, 1, 2]], "")
    assert cut_by_id([1, 1, 1, 1], [A, B, A, B], [2]) == ([[0, 2], [1, 3]], "")  # one text, two pictures
    assert cut_by_id([1] * 4, [A] * 4, [2]) == ([[0, 1], [2, 3]], "")  # a prompt twice in the data
    assert cut_by_id([1, 1, 2, 2], [A, A, B, B], [4, 2]) == ([[0, 1], [2, 3]], "")
    found, problem = cut_by_id([1, 1, 2], [A, A, B], [2])
    assert (found, problem) == ([[0, 1]], "a prompt has 1 completions here, and num_generations is 2")


def test_an_order_is_a_permutation_that_its_seed_decides():
    orders = {tuple(shuffled(4, 0, A, step, shuffle=True)) for step in range(100)}
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(orders) == 24  # 100 draws of 24: one is missed about once in 3 runs of other seeds
    assert shuffled(8, 0, A, 1, shuffle=True) == shuffled(8, 0, A, 1, shuffle=True)
    assert shuffled(8, 0, A, 1, shuffle=True) != shuffled(8, 1, A, 1, shuffle=True)
    assert shuffled(8, 0, A, 1, shuffle=True) != shuffled(8, 0, B, 1, shuffle=True)


def test_metrics_are_means_over_groups_that_can_be_compared():
    verdicts = [
        make_verdict(("a", "b", "c"), (3.0, 1.0, 1.0), spread=(0.3, 0.0, 0.0), order_agreement=0.5),
        make_verdict(("a", "b"), (0.0, 4.0), spread=(0.2, 0.4), order_agreement=1.0),
        make_verdict(("a",), (9.0,)),
    ]
    found = verdict_metrics(verdicts)
    assert found["margin"] == 3.0
    assert found["ties"] == pytest.approx(1 / 6)
    assert found["spread"] == pytest.approx(0.2)
    assert found["order_sensitivity"] == 0.25
    assert found["score_std"] == pytest.approx((math.sqrt(8) / 3 + 2) / 2)
    assert verdict_metrics([]) == {}


def test_correlation_with_length_is_taken_inside_groups():
    assert length_correlation([[(1.0, 10), (2.0, 20)], [(5.0, 30), (4.0, 40)]]) == pytest.approx(0.0)
    assert length_correlation([[(1.0, 10), (2.0, 20), (3.0, 30)]]) == pytest.approx(1.0)
    assert length_correlation([[(1.0, 10)], [(1.0, 10), (1.0, 20)]]) is None


def test_prompts_differ_by_text_role_and_place_of_a_picture():
    def key(*turns):
        (row,) = read_rows([list(turns)], [""], {})
        return row.key

    user = {"role": "user", "content": "ab"}
    assert key(user) == key({"role": "user", "content": [{"type": "text", "text": "ab"}]})
    others = [
        key(user),
        key({"role": "system", "content": "ab"}, user),
        key({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        key(
            {"role": "user", "content": [{"type": "image", "image": "x.png"}, {"type": "text", "text": "ab"}]}
        ),
        key(
            {"role": "user", "content": [{"type": "text", "text": "ab"}, {"type": "image", "image": "x.png"}]}
        ),
        key(
            {"role": "user", "content": [{"type": "image", "image": "y.png"}, {"type": "text", "text": "ab"}]}
        ),
    ]
    assert None not in others
    assert len(set(others)) == len(others)


def test_importing_the_rewards_imports_no_torch():
    code = "import yoj_cli.rewards, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
