"""Working ahead: in order, bounded, and an error stays with its item."""

from __future__ import annotations

import threading
import time

from yoj_cli.judge.ahead import map_ahead


def test_results_come_in_the_order_of_the_items():
    def slow_at_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * 2

    assert [result() for result in map_ahead(slow_at_first, range(20), n_ahead=4)] == list(range(0, 40, 2))


def test_an_error_is_raised_by_its_own_item_only():
    def fail_at_two(item):
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    for result in map_ahead(fail_at_two, range(4), n_ahead=2):
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

    results = map_ahead(lambda item: item, items(), n_ahead=3)
    next(results)
    assert len(read) == 4
    results.close()


def test_leaving_early_does_not_wait_for_the_rest():
    release = threading.Event()
    results = map_ahead(lambda item: item or release.wait(5), [1, 0, 0, 0], n_ahead=1)
    assert next(results)() == 1
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 1
    release.set()
