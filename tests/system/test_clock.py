from __future__ import annotations

import time
from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from trtbench.system.clock import NS_PER_S, WallAnchor, now_ns, seconds_ns, sleep_s


def test_the_clock_is_the_machines_monotonic_one() -> None:
    """The server's stamps are read on it too: same clock, same zero."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= now_ns() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


@given(st.floats(0, 1e6))
def test_seconds_are_rounded_to_whole_nanoseconds(seconds: float) -> None:
    assert isinstance(seconds_ns(seconds), int)
    assert abs(seconds_ns(seconds) - seconds * NS_PER_S) <= 0.5


def test_sleeping_blocks() -> None:
    start_ns = now_ns()
    sleep_s(0.01)
    assert now_ns() - start_ns >= 10_000_000


@given(st.integers(0, 10**15), st.integers(-(10**12), 10**12))
def test_instants_of_the_run_as_dates(monotonic_ns: int, offset_ns: int) -> None:
    anchor = WallAnchor(monotonic_ns, 1_700_000_000 * NS_PER_S)
    date = anchor.utc(monotonic_ns + offset_ns)
    assert date.tzinfo is timezone.utc
    assert abs(date.timestamp() - (1_700_000_000 + offset_ns / NS_PER_S)) < 1e-5


def test_the_anchor_is_now() -> None:
    before = datetime.now(timezone.utc)
    anchor = WallAnchor.read()
    assert abs((anchor.utc(anchor.monotonic_ns) - before).total_seconds()) < 5
