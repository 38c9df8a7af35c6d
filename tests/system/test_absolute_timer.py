from __future__ import annotations

import select
from contextlib import closing

from trtbench.system.absolute_timer import AbsoluteTimer
from trtbench.system.clock import now_ns

MS = 1_000_000


def test_it_wakes_at_the_instant_and_not_before() -> None:
    with closing(AbsoluteTimer()) as timer, select.epoll() as epoll:
        epoll.register(timer.fileno(), select.EPOLLIN)
        for due_ns in (now_ns() + 3 * MS, now_ns() + 5 * MS, now_ns() - MS):
            timer.set(due_ns)
            assert epoll.poll(2)
            assert now_ns() >= due_ns


def test_the_last_instant_counts() -> None:
    with closing(AbsoluteTimer()) as timer, select.epoll() as epoll:
        epoll.register(timer.fileno(), select.EPOLLIN)
        timer.set(now_ns() - MS)
        timer.set(now_ns() + 3600 * 1000 * MS)
        assert epoll.poll(0.02) == []
        timer.set(now_ns() - MS)
        timer.set(0)
        assert epoll.poll(0.02) == []
