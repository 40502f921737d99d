"""Working ahead: in order, bounded, and an error stays with its item."""

from __future__ import annotations

import threading
import time

import pytest

from yoj_cli.scoring.prefetch import Prefetcher, prefetch

PATIENCE_S = 30.0


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.001)


def test_results_come_in_the_order_of_the_items():
    def slow_at_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * 2

    assert [result() for result in prefetch(slow_at_first, range(20), n_prefetched=4)] == list(
        range(0, 40, 2)
    )


def test_an_error_is_raised_by_its_own_item_only():
    def fail_at_two(item):
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    for result in prefetch(fail_at_two, range(4), n_prefetched=2):
        try:
            found.append(result())
        except ValueError as error:
            found.append(str(error))
    assert found == [0, 1, "two", 3]


def test_no_more_than_the_given_number_is_read_ahead():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    results = prefetch(lambda item: item, items(), n_prefetched=3)
    next(results)
    wait_until(lambda: len(read) == 4)
    time.sleep(0.05)
    assert len(read) == 4
    results.close()


def test_an_item_does_not_wait_for_the_next_one_to_come():
    release = threading.Event()

    def items():
        yield 0
        release.wait(PATIENCE_S)
        yield 1

    results = prefetch(lambda item: item, items(), n_prefetched=3)
    assert next(results)() == 0
    assert not release.is_set()
    release.set()
    assert next(results)() == 1
    results.close()


def test_a_lot_is_filled_by_size_and_not_by_speed():
    def slowly(item):
        time.sleep(0.01 * (item % 3))
        return item

    ahead = Prefetcher(slowly, [3, 1, 4, 1, 5, 9, 2, 6], n_prefetched=3, size=lambda item: item, max_size=8)
    lots = []
    while lot := ahead.take_filled():
        lots.append([result() for result in lot])
    assert lots == [[3, 1, 4], [1, 5, 9], [2, 6]]
    ahead.close()


def test_a_result_that_failed_ends_its_lot():
    ahead = Prefetcher(lambda item: 1 // item, [1, 0, 1], n_prefetched=2, max_size=100)
    good, bad = ahead.take_filled()
    assert good() == 1
    with pytest.raises(ZeroDivisionError):
        bad()
    assert [result() for result in ahead.take_filled()] == [1]
    assert ahead.take_filled() == []
    ahead.close()


def test_what_is_there_now_is_taken_without_waiting():
    release = threading.Event()
    ahead = Prefetcher(lambda item: item or release.wait(PATIENCE_S), [1, 2, 0, 3], n_prefetched=4)
    first = ahead.take()
    ready = []
    wait_until(lambda: ready.extend(ahead.take_ready()) or ready)
    assert ahead.take_ready() == []
    assert [result() for result in (first, *ready)] == [1, 2]
    release.set()
    assert [ahead.take()(), ahead.take()(), ahead.take()] == [True, 3, None]
    ahead.close()


def test_more_is_begun_while_the_finished_results_are_small():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    ahead = Prefetcher(lambda item: item, items(), n_prefetched=2, size=lambda _: 10, max_size=100)
    wait_until(lambda: len(read) >= 10)
    time.sleep(0.05)
    assert 10 <= len(read) <= 10 + 2
    ahead.close()


def test_an_error_of_the_reading_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("no more")

    results = prefetch(lambda item: item, items(), n_prefetched=4)
    assert next(results)() == 1
    with pytest.raises(ValueError, match="no more"):
        next(results)()
    assert list(results) == []


def test_time_spent_waiting_is_counted():
    ahead = Prefetcher(lambda _: time.sleep(0.05), [0], n_prefetched=1)
    ahead.take()
    assert 0.02 < ahead.waited_s < PATIENCE_S
    ahead.close()


def test_leaving_early_does_not_wait_for_the_rest():
    release = threading.Event()
    results = prefetch(lambda item: item or release.wait(5), [1, 0, 0, 0], n_prefetched=1)
    assert next(results)() == 1
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 1
    release.set()
