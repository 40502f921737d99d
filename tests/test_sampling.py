"""Instants and frames, worked by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from yoj_cli.media.sampling import Timeline, sample_times


@pytest.mark.parametrize(
    ("duration", "n", "expected"),
    [
        ("2", 16, [0, 0.5, 1, 1.5, 2]),
        ("1.7", 16, [0, 0.5, 1, 1.5, 1.7]),
        ("0.4", 16, [0, 0.4]),
        ("0", 16, [0]),
        ("7.5", 16, [i / 2 for i in range(16)]),  # exactly (16 - 1) / 2: still every half second
        ("9", 4, [0, 3, 6, 9]),
        ("1.5", 4, [0, 0.5, 1, 1.5]),
        ("1.6", 4, [0, 1.6 / 3, 3.2 / 3, 1.6]),
        ("10", 2, [0, 10]),
        ("10", 1, [0]),
        ("0", 1, [0]),
    ],
)
def test_instants_worked_by_hand(duration: str, n: int, expected: list[float]) -> None:
    assert [float(t) for t in sample_times(Fraction(duration), n)] == pytest.approx(expected, abs=1e-12)


def test_never_more_than_max_frames_and_always_both_ends() -> None:
    for n in (2, 3, 16):
        for tenths in range(200):
            times = sample_times(Fraction(tenths, 10), n)
            assert len(times) <= n
            assert times[0] == 0
            assert times[-1] == Fraction(tenths, 10)


def timeline(order: tuple[int, ...], is_key: tuple[bool, ...]) -> Timeline:
    """Frames shown at 1.0, 1.1, 1.3 and 2.0 s, the last for half a second."""
    return Timeline((100, 110, 130, 200), order, order, is_key, 250, Fraction(1, 100))


def test_times_count_from_the_first_frame() -> None:
    found = timeline((0, 1, 2, 3), (True, False, True, False))
    assert found.duration_s == Fraction(3, 2)
    assert [found.start_s(i) for i in range(4)] == [0, Fraction(1, 10), Fraction(3, 10), 1]


@pytest.mark.parametrize(
    ("time", "index"), [("0", 0), ("0.09", 0), ("0.1", 1), ("0.99", 2), ("1", 3), ("9", 3)]
)
def test_a_frame_is_shown_until_the_next_one(time: str, index: int) -> None:
    assert timeline((0, 1, 2, 3), (True, False, True, False)).shown_at(Fraction(time)) == index


def test_decoding_starts_at_the_key_frame_before() -> None:
    found = timeline((0, 1, 2, 3), (True, False, True, False))
    assert [found.key_before(i) for i in range(4)] == [0, 0, 2, 2]


def test_a_frame_shown_before_a_key_frame_and_decoded_after_it_opens_the_group() -> None:
    assert timeline((0, 1, 2, 3), (True, False, True, False)).is_closed
    assert timeline((0, 2, 1, 3), (True, False, False, False)).is_closed
    assert not timeline((0, 2, 1, 3), (True, False, True, False)).is_closed


def test_times_increase_where_no_two_frames_share_one():
    assert Timeline((0, 1, 2), (0, 1, 2), (0, 1, 2), (True, False, False), 3, Fraction(1)).is_increasing
    assert not Timeline((0, 1, 1), (0, 1, 2), (0, 1, 2), (True, False, False), 3, Fraction(1)).is_increasing
