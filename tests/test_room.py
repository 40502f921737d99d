"""Memory of the groups in work together: who came first goes on, the others wait while there is no room."""

from __future__ import annotations

import threading
import time

from tests.waiting import wait_until
from yoj_cli.media.budget import Room

PATIENCE_S = 30.0


def test_groups_share_the_room_and_the_first_goes_on_whatever_it_takes() -> None:
    room = Room(10)
    second_is_in, first_may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with room.shared() as take:
            take(4)
            order.append("first 4")
            assert second_is_in.wait(PATIENCE_S)
            take(100)  # far above the room, and the second holds a part of it
            order.append("first 104")
            assert first_may_end.wait(PATIENCE_S)

    def second() -> None:
        while "first 4" not in order:
            time.sleep(0.001)
        with room.shared() as take:
            take(6)
            order.append("second 6")
            second_is_in.set()
            while "first 104" not in order:
                time.sleep(0.001)
            take(1)
            order.append("second 7")

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    while "first 104" not in order:
        time.sleep(0.001)
    time.sleep(0.05)
    assert order == ["first 4", "second 6", "first 104"]
    first_may_end.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order[3:] == ["second 7"]


def test_who_needs_more_than_the_room_waits_until_it_is_alone_and_is_not_overtaken() -> None:
    room = Room(10)
    order: list[str] = []
    first_may_end = threading.Event()

    def work(name: str, size: int, may_end: threading.Event | None = None) -> None:
        with room.shared() as take:
            take(size)
            order.append(name)
            if may_end:
                assert may_end.wait(PATIENCE_S)

    threads = []
    for each, has_come in (
        (("first", 4, first_may_end), lambda: order == ["first"]),
        (("large", 100), lambda: len(room._waiting) == 1),
        (("small", 1), lambda: len(room._waiting) == 2),
    ):
        threads.append(threading.Thread(target=work, args=each))
        threads[-1].start()
        wait_until(has_come)
    assert order == ["first"]
    first_may_end.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["first", "large", "small"]


def test_room_is_given_back_also_after_an_error() -> None:
    room = Room(10)
    for _ in range(3):
        try:
            with room.shared() as take:
                take(10)
                raise ValueError("damaged")
        except ValueError:
            continue
    assert not room._taken
