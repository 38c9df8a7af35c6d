"""Who reads when, exactly: the pacer on an event loop, an epoll, a timer and a clock that a test moves."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.transport import read_pacer
from trtbench.client.transport.read_pacer import ReadPacer, open_pacer
from trtbench.scenario.load.client_settings import ClientSettings

MS = 1_000_000
EPOLL_FD, TIMER_FD = 1_000_001, 1_000_002


class FakeMachine:
    """Sockets that are readable, and what waits for them: an event loop, an epoll and a timer, on a clock that only `wait` moves."""

    def __init__(self) -> None:
        self.time_ns, self.rings_ns = 0, 0
        self.closed = False
        self.readers: dict[int, Callable[[], None]] = {}
        self.registered: set[int] = set()
        self.readable: set[int] = set()
        self.later: Callable[[], None] | None = None

    # of the event loop
    def add_reader(self, descriptor: int, read: Callable[[], None]) -> None:
        self.readers[descriptor] = read

    def remove_reader(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        self.later = call
        return self

    def cancel(self) -> None:
        self.later = None

    # of the epoll
    def register(self, descriptor: int, events: int) -> None:
        assert descriptor not in self.registered
        self.registered.add(descriptor)

    def unregister(self, descriptor: int) -> None:
        self.registered.remove(descriptor)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [(descriptor, 1) for descriptor in sorted(self.registered & self.readable)]

    def fileno(self) -> int:
        return EPOLL_FD

    def close(self) -> None:
        self.closed = True

    def turn(self) -> None:
        """The event loop calls all readers whose file is readable."""
        for descriptor in sorted(self.readable & set(self.readers)):
            if descriptor in self.readable and (read := self.readers.get(descriptor)):
                read()
        if self.registered & self.readable and (found := self.readers.get(EPOLL_FD)):
            found()
        if 0 < self.rings_ns <= self.time_ns and (ring := self.readers.get(TIMER_FD)):
            ring()

    def wait(self, span_ns: int) -> None:
        self.time_ns += span_ns
        self.turn()


class FakeTimer:
    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    def fileno(self) -> int:
        return TIMER_FD

    def set(self, instant_ns: int) -> None:
        self._machine.rings_ns = instant_ns

    def close(self) -> None:
        self.set(0)


class FakeConnections:
    """Connections in the middle of an answer; `reads` holds (descriptor, instant) of each read."""

    def __init__(self, pause_ns: int | None, patch: pytest.MonkeyPatch) -> None:
        self.machine = FakeMachine()
        patch.setattr(select, "epoll", lambda: self.machine)
        patch.setattr(read_pacer, "AbsoluteTimer", lambda: FakeTimer(self.machine))
        patch.setattr(read_pacer, "now_ns", lambda: self.machine.time_ns)
        patch.setattr(asyncio, "get_running_loop", lambda: self.machine)
        self.pacer = ReadPacer(pause_ns)
        self.reads: list[tuple[int, int]] = []
        self.open: set[int] = set()
        self.middle: set[int] = set()

    def enter(self, descriptor: int, arrivals_ns: tuple[int, ...] = ()) -> None:
        if descriptor not in self.open:
            self.open.add(descriptor)
            self.machine.add_reader(descriptor, lambda: self._read(descriptor))
        self.middle.add(descriptor)
        self.pacer.enter(descriptor, lambda: self._read(descriptor), arrivals_ns)

    def leave(self, descriptor: int, end_lag_ns: int | None = None, lost: bool = False) -> None:
        self.middle.discard(descriptor)
        self.pacer.leave(descriptor, end_lag_ns, lost)
        if lost:
            self.machine.remove_reader(descriptor)
            self.open.discard(descriptor)
            self.machine.readable.discard(descriptor)

    def review(self) -> None:
        assert self.machine.later
        self.machine.later()

    def _read(self, descriptor: int) -> None:
        assert descriptor in self.open and descriptor in self.machine.readable
        self.machine.readable.discard(descriptor)
        self.reads.append((descriptor, self.machine.time_ns))


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> FakeConnections:
    """Eight connections in the middle of an answer, read after pauses of 3 ms."""
    found = FakeConnections(3 * MS, monkeypatch)
    for descriptor in range(8):
        found.enter(descriptor)
    found.review()
    return found


def test_the_first_arrival_starts_a_pause_after_which_all_are_read(eight: FakeConnections) -> None:
    eight.machine.readable |= {1}
    eight.machine.wait(10 * MS)
    eight.machine.readable |= {2, 5}
    eight.machine.wait(2 * MS)
    assert eight.reads == []
    eight.machine.wait(MS)
    assert eight.reads == [(1, 13 * MS), (2, 13 * MS), (5, 13 * MS)]
    facts = eight.pacer.facts()
    assert (facts["paced_passes"], facts["paced_reads"], facts["read_pause_longest_ns"]) == (1, 3, 3 * MS)


def test_nothing_wakes_while_nothing_arrives(eight: FakeConnections) -> None:
    eight.machine.readable |= {1}
    for _ in range(3):
        eight.machine.wait(3 * MS)
    assert eight.machine.rings_ns == 0 and EPOLL_FD in eight.machine.readers
    assert len(eight.reads) == 1


def test_a_connection_that_leaves_is_read_at_once(eight: FakeConnections) -> None:
    eight.leave(4)
    eight.machine.readable |= {3, 4}
    eight.machine.wait(MS)
    assert eight.reads == [(4, MS)]
    eight.enter(4)
    eight.machine.readable |= {4}
    eight.machine.wait(MS)
    eight.machine.wait(2 * MS)
    assert eight.reads[1:] == [(3, 4 * MS), (4, 4 * MS)]


def test_a_read_that_ends_another_connection_does_not_read_it(eight: FakeConnections) -> None:
    def ends_the_next() -> None:
        eight.machine.readable.discard(0)
        eight.leave(1, lost=True)

    eight.leave(0)
    eight.pacer.enter(0, ends_the_next, ())
    eight.machine.readable |= {0, 1}
    eight.machine.wait(MS)
    eight.machine.wait(3 * MS)
    assert eight.reads == [] and 1 not in eight.machine.registered


def test_pacing_ends_when_few_answers_are_left(eight: FakeConnections) -> None:
    for descriptor in range(5):
        eight.leave(descriptor)
    eight.machine.readable |= {1, 6}
    eight.machine.wait(MS)
    assert eight.reads == [(1, MS), (6, MS)] and not eight.machine.registered
    assert eight.pacer.facts()["paced_ends"] == 0


def test_pacing_begins_again_with_enough_answers(eight: FakeConnections) -> None:
    """As when all users of a closed loop end and begin at the same time; no review has to come before."""
    for descriptor in range(8):
        eight.leave(descriptor)
    assert not eight.machine.registered
    for descriptor in range(8):
        eight.enter(descriptor)
        assert bool(eight.machine.registered) is (descriptor == 7)


@pytest.mark.parametrize(("crowded", "held"), [(4, True), (5, False)])
def test_pacing_stops_at_once_when_the_load_changes(crowded: int, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several crowded reads within a pass; the others that are ready in it are still read."""
    found = FakeConnections(None, monkeypatch)
    for descriptor in range(8):
        found.enter(descriptor, tuple(2 * MS * number for number in range(20)))
    for _ in range(3):
        found.review()
    read = found._read
    monkeypatch.setattr(found, "_read", lambda number: (read(number), number < crowded and found.pacer.count_crowded()))
    found.machine.readable |= set(range(8))
    found.machine.wait(MS)
    found.machine.wait(found.pacer._pause_ns)
    assert [number for number, _ in found.reads] == list(range(8))
    assert bool(found.machine.registered) is held and found.pacer.facts()["paced_reads_crowded"] == crowded
    found.review()
    assert not found.machine.registered, "the review has learnt of them"


def test_few_answers_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FakeConnections(3 * MS, monkeypatch)
    for descriptor in range(7):
        found.enter(descriptor)
    found.review()
    found.machine.readable |= {3}
    found.machine.wait(MS)
    assert found.reads == [(3, MS)] and found.pacer.facts()["paced_reads"] == 0


def test_crowded_reads_of_a_process_that_was_late_count_but_do_not_shorten_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    found = FakeConnections(None, monkeypatch)
    pause = found.pacer._adapted
    assert pause
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(pause, "add_reads", lambda reads, crowded: seen.append((reads, crowded)))
    for descriptor in range(8):
        found.enter(descriptor, tuple(2 * MS * number for number in range(20)))
    for _ in range(3):
        found.review()
    held = found.pacer._pause_ns
    assert held > 0
    for late_ns in (0, 10 * held):
        found.machine.readable |= {1}
        found.machine.wait(MS)
        found.machine.wait(held + late_ns)
        found.pacer.count_crowded()
        found.machine.wait(held)
    found.review()
    assert seen[-1] == (2, 1) and found.pacer.facts()["paced_reads_crowded"] == 2


def test_ends_that_were_read_after_a_pause_are_counted(eight: FakeConnections) -> None:
    eight.leave(1, end_lag_ns=2 * MS)
    for _ in range(98):
        eight.enter(1)
        eight.leave(1)
    assert (eight.pacer.facts()["paced_ends"], eight.pacer.facts()["paced_end_lag_p99_ns"]) == (1, 2 * MS)
    eight.enter(1)
    eight.leave(1)
    assert eight.pacer.facts()["paced_end_lag_p99_ns"] == 0, "one of a hundred"


@pytest.mark.parametrize(("asked", "expected"), [("auto", (0, True)), (0, None), (2.5, (2_500_000, False))])
def test_what_a_scenario_asks(asked: Any, expected: tuple[int, bool] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeConnections(0, monkeypatch)
    pacer = open_pacer(ClientSettings(read_pause_ms=asked))
    assert (pacer and (pacer._pause_ns, pacer._adapted is not None)) == expected


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "end", "lose", "arrive", "wait", "review"]), st.integers(0, 11)), min_size=20, max_size=200
)


@given(STEPS, st.sampled_from([None, 0, 3 * MS]))
def test_every_open_connection_has_exactly_one_reader_and_nothing_stays_unread(steps: list[tuple[str, int]], pause_ns: int | None) -> None:
    """Answers begin, end, are lost and reviewed at random, some of them during a pause."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_pacer, "_FEWEST", 3)
        found = FakeConnections(pause_ns, patch)
        arrivals = tuple(20 * MS * number for number in range(200))
        for step, number in steps:
            if step == "enter" and number not in found.middle:
                found.enter(number, arrivals)
            elif step in ("leave", "end", "lose") and number in found.middle:
                found.leave(number, MS if step == "end" else None, step == "lose")
            elif step == "arrive" and number in found.open:
                found.machine.readable.add(number)
            elif step == "wait":
                found.machine.wait(number * MS // 4)
            elif step == "review":
                found.review()
            looped = {descriptor for descriptor in found.machine.readers if descriptor < EPOLL_FD}
            assert looped | found.machine.registered == found.open and not looped & found.machine.registered
        for _ in range(3):
            found.machine.wait(5 * MS)
        assert not found.machine.readable
        found.pacer.close()
        found.pacer.close()
        assert found.machine.later is None and EPOLL_FD not in found.machine.readers and TIMER_FD not in found.machine.readers
