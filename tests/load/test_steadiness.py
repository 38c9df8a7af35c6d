from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.load.load_phases import Steadiness
from trtbench.rundir.latency_limits import INCOMPLETE, FinishedRequest
from trtbench.scenario.load.measurement import Stability

SECOND_NS = 1_000_000_000


def finished(per_second: list[int], latency_ns: int = 5_000_000) -> list[FinishedRequest]:
    """So many requests that end in each second from instant 100 s on."""
    ends = [
        100 * SECOND_NS + second * SECOND_NS + at * SECOND_NS // (count + 1)
        for second, count in enumerate(per_second)
        for at in range(count)
    ]
    return [(done_ns - latency_ns, done_ns, 0) for done_ns in ends]


def steadiness(per_second: list[int], ratio: float = 0.1, windows: int = 3) -> Steadiness:
    steady = Steadiness(Stability(ratio=ratio, windows=windows, window_s=1), 100 * SECOND_NS)
    steady.add(finished(per_second))
    return steady


@pytest.mark.parametrize(
    ("per_second", "until_s", "reached"),
    [
        ([20, 20, 20], 103, True),
        ([20, 20, 20], 102.9, False),  # the third window is not over
        ([5, 10, 20, 20, 20], 105, True),  # the ramp is behind
        ([5, 10, 20, 20, 20], 104, False),
        ([20, 20, 10], 103, False),
        ([20, 0, 20], 103, False),
        ([20, 20, 20], 110, False),  # nothing has come since
    ],
)
def test_by_the_rate_of_the_last_whole_windows(per_second: list[int], until_s: float, reached: bool) -> None:
    assert steadiness(per_second).reached(int(until_s * SECOND_NS)) is reached


def test_latency_counts_too() -> None:
    steady = steadiness([20, 20])
    steady.add([(due_ns + 2 * SECOND_NS, done_ns + 2 * SECOND_NS, bits) for due_ns, done_ns, bits in finished([20], 9_000_000)])
    assert not steady.reached(103 * SECOND_NS)


def test_a_request_that_did_not_complete_does_not_count() -> None:
    steady = steadiness([20, 20])
    steady.add([(due_ns + 2 * SECOND_NS, done_ns + 2 * SECOND_NS, INCOMPLETE) for due_ns, done_ns, _ in finished([20])])
    assert not steady.reached(103 * SECOND_NS)


@given(st.integers(1, 50), st.integers(2, 6))
def test_what_never_moves_is_steady_as_soon_as_there_are_windows_enough(count: int, windows: int) -> None:
    steady = steadiness([count] * windows, windows=windows)
    assert steady.reached((100 + windows) * SECOND_NS)
    assert not steady.reached((100 + windows - 1) * SECOND_NS)
