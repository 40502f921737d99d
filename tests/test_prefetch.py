"""Prefetching: in order, bounded, and an error stays with its item."""

from __future__ import annotations

import threading
import time

import pytest

from tests.waiting import wait_until
from yoj_cli.scoring.prefetch import Prefetcher

PATIENCE_S = 30.0


def test_results_come_in_the_order_of_the_items():
    def slow_at_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * 2

    with Prefetcher(slow_at_first, range(20), n_prefetched=4) as results:
        assert list(results) == list(range(0, 40, 2))


def test_an_error_is_raised_by_its_own_item_only():
    def fail_at_two(item):
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    with Prefetcher(fail_at_two, range(4), n_prefetched=2) as results:
        while True:
            try:
                window = results.take()
            except ValueError as error:
                window = [str(error)]
            if not window:
                break
            found += window
    assert found == [0, 1, "two", 3]


def test_no_more_than_the_given_number_is_read_ahead():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    with Prefetcher(lambda item: item, items(), n_prefetched=3) as results:
        results.take()
        wait_until(lambda: len(read) == 4)
        time.sleep(0.05)
        assert len(read) == 4


@pytest.mark.parametrize("live", [False, True])
def test_an_item_does_not_wait_for_the_next_one_to_come(live):
    release = threading.Event()

    def items():
        yield 0
        release.wait(PATIENCE_S)
        yield 1

    with Prefetcher(lambda item: item, items(), n_prefetched=3, max_size=100 if live else 0) as results:
        assert results.take(live=live) == [0]
        assert not release.is_set()
        release.set()
        assert results.take(live=live) == [1]


def test_a_window_is_filled_by_size_and_not_by_speed():
    def slowly(item):
        time.sleep(0.01 * (item % 3))
        return item

    items = [3, 1, 4, 1, 5, 9, 2, 6]
    windows = []
    with Prefetcher(slowly, items, n_prefetched=3, size=lambda item: item, max_size=8) as results:
        while window := results.take():
            windows.append(window)
    assert windows == [[3, 1, 4], [1, 5, 9], [2, 6]]


def test_results_before_an_error_are_taken_first_and_those_after_it_later():
    with Prefetcher(lambda item: 1 // item, [1, 0, 1], n_prefetched=2, max_size=100) as results:
        assert results.take() == [1]
        with pytest.raises(ZeroDivisionError):
            results.take()
        assert results.take() == [1]
        assert results.take() == []


def test_what_is_there_now_is_taken_without_waiting_for_more():
    release = threading.Event()

    def wait_for_zero(item):
        return item or release.wait(PATIENCE_S)

    with Prefetcher(wait_for_zero, [1, 2, 0, 3], n_prefetched=4, max_size=100) as results:
        found = []
        wait_until(lambda: found.extend(results.take(live=True)) or len(found) == 2)
        assert found == [1, 2]
        release.set()
        wait_until(lambda: found.extend(results.take(live=True)) or len(found) == 4)
        assert found == [1, 2, True, 3]
        assert results.take(live=True) == []


def test_more_is_begun_while_the_finished_results_are_small():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    with Prefetcher(lambda item: item, items(), n_prefetched=2, size=lambda _: 10, max_size=100):
        wait_until(lambda: len(read) >= 10)
        time.sleep(0.05)
        assert 10 <= len(read) <= 10 + 2


def test_a_window_that_waits_for_its_rest_holds_no_more_than_was_allowed():
    read = []
    release = threading.Event()

    def items():
        for item in range(100):
            read.append(item)
            yield item

    def hold_the_third(item):
        return release.wait(PATIENCE_S) if item == 2 else item

    results = Prefetcher(hold_the_third, items(), n_prefetched=2, size=lambda _: 10, max_size=100)
    taker = threading.Thread(target=results.take)
    taker.start()
    wait_until(lambda: len(read) >= 10)
    time.sleep(0.05)
    assert len(read) <= 10 + 2
    release.set()
    taker.join(PATIENCE_S)
    results.close()


def test_an_error_of_the_reading_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("no more")

    with Prefetcher(lambda item: item, items(), n_prefetched=4) as results:
        assert results.take() == [1]
        with pytest.raises(ValueError, match="no more"):
            results.take()
        assert results.take() == []


def test_leaving_early_does_not_wait_for_the_rest():
    release = threading.Event()
    with Prefetcher(lambda item: item or release.wait(5), [1, 0, 0, 0], n_prefetched=1) as results:
        assert results.take() == [1]
        started = time.monotonic()
    assert time.monotonic() - started < 4
    release.set()


def test_windows_end_at_the_cuts_wherever_the_stream_began():
    with Prefetcher(lambda item: item, range(7), max_size=100, cut_every=4, n_before=2) as results:
        windows = [results.take() for _ in range(3)]
    assert windows == [[0, 1], [2, 3, 4, 5], [6]]


def test_of_results_that_fill_the_room_one_is_ahead():
    begun = []

    def count(item):
        begun.append(item)
        return item

    with Prefetcher(count, range(100), n_prefetched=4, size=lambda _: 100, max_size=100) as results:
        for item in range(8):  # the first are begun before the size of any is known
            assert results.take() == [item]
        wait_until(lambda: len(begun) == 9)
        time.sleep(0.05)
        assert len(begun) == 9
