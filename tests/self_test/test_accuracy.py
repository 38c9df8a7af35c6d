"""Hand-made records: what the server says and what the client says differ by known amounts."""

from __future__ import annotations

import pytest

from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.self_test.accuracy import Accuracy, Pair
from trtbench.self_test.stamp import StampError

MS = 1_000_000


def ids(sent_ns: list[int], late_us: int = 0) -> list[int]:
    return [number for index, ns in enumerate(sent_ns) for number in (index, late_us, ns >> 31, ns & (2**31 - 1))]


def record(sent_ns: list[int], arrival_ns: list[int], lag_ns: list[int] | None = None, **more: object) -> RequestRecord:
    fields = {"outcome": Outcome.COMPLETED, "token_counts": [4] * len(sent_ns), "output_ids": ids(sent_ns)} | more
    return RequestRecord(
        0, "c1", False, 0, 2, len(sent_ns), due_ns=0, sent_ns=1 * MS, token_ns=arrival_ns, token_lag_ns=lag_ns or [], **fields
    )  # type: ignore[arg-type]


def test_ttft_error_is_arrival_minus_sending() -> None:
    accuracy = Accuracy.of([record([5 * MS, 9 * MS], [5 * MS + 300, 9 * MS + 300]), record([5 * MS], [5 * MS + 500])])
    assert accuracy.stamps.ttft_ns is not None
    assert (accuracy.stamps.ttft_ns.count, accuracy.stamps.ttft_ns.min, accuracy.stamps.ttft_ns.max) == (2, 300, 500)
    assert (accuracy.requests, accuracy.responses) == (2, 3)


def test_a_delay_that_is_always_the_same_is_no_error_of_a_gap() -> None:
    accuracy = Accuracy.of([record([5 * MS, 9 * MS, 13 * MS], [7 * MS, 11 * MS, 15 * MS])])
    assert (accuracy.stamps.itl_ns.count, accuracy.stamps.itl_ns.max) == (2, 0)


def test_itl_error_is_absolute() -> None:
    accuracy = Accuracy.of([record([5 * MS, 9 * MS, 13 * MS], [5 * MS, 9 * MS + 700, 13 * MS])])
    assert (accuracy.stamps.itl_ns.min, accuracy.stamps.itl_ns.max) == (700, 700)


def test_gaps_are_never_taken_across_requests() -> None:
    accuracy = Accuracy.of([record([5 * MS], [5 * MS]), record([900 * MS], [905 * MS])])
    assert accuracy.stamps.itl_ns.count == 0


def test_user_space_stands_beside_the_kernel() -> None:
    accuracy = Accuracy.of([record([5 * MS, 9 * MS], [5 * MS, 9 * MS], [100, 2100])])
    assert accuracy.user is not None and accuracy.user.ttft_ns is not None
    assert (accuracy.stamps.itl_ns.max, accuracy.user.itl_ns.max) == (0, 2000)
    assert (accuracy.stamps.ttft_ns, accuracy.user.ttft_ns.max) != (None, 0)


def test_user_stamps_alone_are_not_shown_twice() -> None:
    assert Accuracy.of([record([5 * MS], [6 * MS])]).user is None


def test_coalesced_reads_and_lateness_are_counted() -> None:
    late = record([5 * MS, 6 * MS], [5 * MS, 6 * MS], output_ids=ids([5 * MS, 6 * MS], late_us=40), coalesced=[1])
    accuracy = Accuracy.of([late, record([5 * MS, 6 * MS], [5 * MS, 6 * MS])])
    assert accuracy.coalesced_ratio == 0.25
    assert (accuracy.server_late_ns.min, accuracy.server_late_ns.max) == (0, 40_000)


@pytest.mark.parametrize("sent_ns", [[3600 * 1000 * MS], [0]], ids=["ahead of us", "before it was asked"])
def test_another_machines_clock_is_noticed(sent_ns: list[int]) -> None:
    accuracy = Accuracy.of([record(sent_ns, [5 * MS])])
    assert accuracy.stamps.ttft_ns is None


def test_a_response_that_was_lost_is_no_result() -> None:
    with pytest.raises(StampError):
        Pair.of(record([5 * MS, 6 * MS], [5 * MS], output_ids=ids([5 * MS, 6 * MS])[4:]))
    with pytest.raises(StampError):
        Pair.of(record([5 * MS, 6 * MS], [5 * MS]))


def test_only_completed_requests_can_be_compared() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Pair.of(record([5 * MS], [5 * MS], outcome=Outcome.TIMEOUT))


def test_nothing_gives_nothing() -> None:
    accuracy = Accuracy.of([])
    assert (accuracy.requests, accuracy.stamps.itl_ns.count, accuracy.coalesced_ratio) == (0, 0, 0)
