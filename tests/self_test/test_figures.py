"""Hand-made trials and records: what the server says and what the client says differ by known amounts."""

from __future__ import annotations

import pytest

from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.self_test.figures import Accuracy, Ceiling, Pair, SendLag, StreamFigures
from trtbench.self_test.stamp import StampError
from trtbench.self_test.trial import Trial

MS = 1_000_000


def ids(sent_ns: list[int], late_us: int = 0) -> list[int]:
    return [number for index, ns in enumerate(sent_ns) for number in (index, late_us, ns >> 31, ns & (2**31 - 1))]


def stamped_record(sent_ns: list[int], arrival_ns: list[int], lag_ns: list[int] | None = None, **more: object) -> RequestRecord:
    fields = {"outcome": Outcome.COMPLETED, "token_counts": [4] * len(sent_ns), "output_ids": ids(sent_ns)} | more
    return RequestRecord(
        0, "c1", False, 0, 2, len(sent_ns), due_ns=0, sent_ns=1 * MS, token_ns=arrival_ns, token_lag_ns=lag_ns or [], **fields
    )  # type: ignore[arg-type]


def test_ttft_error_is_arrival_minus_sending() -> None:
    accuracy = Accuracy.of([stamped_record([5 * MS, 9 * MS], [5 * MS + 300, 9 * MS + 300]), stamped_record([5 * MS], [5 * MS + 500])])
    assert accuracy.stamps.ttft_ns is not None
    assert (accuracy.stamps.ttft_ns.count, accuracy.stamps.ttft_ns.min, accuracy.stamps.ttft_ns.max) == (2, 300, 500)
    assert (accuracy.requests, accuracy.responses) == (2, 3)


def test_a_delay_that_is_always_the_same_is_no_error_of_a_gap() -> None:
    accuracy = Accuracy.of([stamped_record([5 * MS, 9 * MS, 13 * MS], [7 * MS, 11 * MS, 15 * MS])])
    assert (accuracy.stamps.itl_ns.count, accuracy.stamps.itl_ns.max) == (2, 0)


def test_itl_error_is_absolute() -> None:
    accuracy = Accuracy.of([stamped_record([5 * MS, 9 * MS, 13 * MS], [5 * MS, 9 * MS + 700, 13 * MS])])
    assert (accuracy.stamps.itl_ns.min, accuracy.stamps.itl_ns.max) == (700, 700)


def test_gaps_are_never_taken_across_requests() -> None:
    accuracy = Accuracy.of([stamped_record([5 * MS], [5 * MS]), stamped_record([900 * MS], [905 * MS])])
    assert accuracy.stamps.itl_ns.count == 0


def test_user_space_is_shown_next_to_the_kernel() -> None:
    accuracy = Accuracy.of([stamped_record([5 * MS, 9 * MS], [5 * MS, 9 * MS], [100, 2100])])
    assert accuracy.user is not None and accuracy.user.ttft_ns is not None
    assert (accuracy.stamps.itl_ns.max, accuracy.user.itl_ns.max) == (0, 2000)
    assert (accuracy.stamps.ttft_ns, accuracy.user.ttft_ns.max) != (None, 0)


def test_user_stamps_alone_are_not_shown_twice() -> None:
    assert Accuracy.of([stamped_record([5 * MS], [6 * MS])]).user is None


def test_coalesced_reads_and_lateness_are_counted() -> None:
    late = stamped_record([5 * MS, 6 * MS], [5 * MS, 6 * MS], output_ids=ids([5 * MS, 6 * MS], late_us=40), coalesced=[1])
    accuracy = Accuracy.of([late, stamped_record([5 * MS, 6 * MS], [5 * MS, 6 * MS])])
    assert accuracy.coalesced_ratio == 0.25
    assert (accuracy.server_late_ns.min, accuracy.server_late_ns.max) == (0, 40_000)


@pytest.mark.parametrize("sent_ns", [[3600 * 1000 * MS], [0]], ids=["ahead of us", "before it was asked"])
def test_another_machines_clock_is_noticed(sent_ns: list[int]) -> None:
    accuracy = Accuracy.of([stamped_record(sent_ns, [5 * MS])])
    assert accuracy.stamps.ttft_ns is None


def test_a_response_that_was_lost_is_no_result() -> None:
    with pytest.raises(StampError):
        Pair.of(stamped_record([5 * MS, 6 * MS], [5 * MS], output_ids=ids([5 * MS, 6 * MS])[4:]))
    with pytest.raises(StampError):
        Pair.of(stamped_record([5 * MS, 6 * MS], [5 * MS]))


def test_only_completed_requests_can_be_compared() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Pair.of(stamped_record([5 * MS], [5 * MS], outcome=Outcome.TIMEOUT))


def test_nothing_gives_nothing() -> None:
    accuracy = Accuracy.of([])
    assert (accuracy.requests, accuracy.stamps.itl_ns.count, accuracy.coalesced_ratio) == (0, 0, 0)


KERNEL = {"stamps": "kernel"}


def record(index: int, due_ns: int, lag_ns: int = 0, responses: int = 1, late_us: int = 0, **more: object) -> RequestRecord:
    sent_ns = due_ns + lag_ns
    fields = {"outcome": Outcome.COMPLETED, "token_lag_ns": [9000] * responses} | more
    instants = [sent_ns + (number + 1) * MS for number in range(responses)]
    ids = [part for number, ns in enumerate(instants) for part in (number, late_us, ns >> 31, ns & (2**31 - 1))]
    return RequestRecord(index, "s", False, 0, 2, responses, due_ns, sent_ns, token_ns=instants, output_ids=ids, **fields)  # type: ignore[arg-type]


def failure(index: int, error: str) -> RequestRecord:
    return RequestRecord(index, "s", False, 0, 2, 1, 0, sent_ns=0, outcome=Outcome.CONNECTION, error=error)


def test_cost_and_rate_are_per_response() -> None:
    trial = Trial([record(0, 10 * MS, responses=30), record(1, 20 * MS, responses=20)], duration_s=2.0, cores=0.0005, facts=KERNEL)
    figures = StreamFigures.of("replay", 2, 1000, trial)
    assert (figures.responses_per_s, figures.cpu_us_per_response, figures.failed, figures.fault) == (25, 20, 0, "")
    kernel, user = figures.by_stamps()
    assert kernel is not None and user is not None
    assert (kernel.itl_ns.max, user.itl_ns.max) == (0, 0)
    assert user.ttft_ns is not None and user.ttft_ns.max == 9000


def test_user_stamps_are_listed_under_their_own_name() -> None:
    trial = Trial([record(0, 10 * MS, token_lag_ns=[])], 1.0, 0.1, {"stamps": "user"})
    kernel, user = StreamFigures.of("replay", 1, 1000, trial).by_stamps()
    assert kernel is None and user is not None


def test_failures_are_named_and_left_out_of_the_errors() -> None:
    trial = Trial([record(0, 10 * MS), failure(1, "reset"), failure(2, "gone")], 1.0, 0.1, KERNEL)
    figures = StreamFigures.of("Triton", 1, 1000, trial)
    assert (figures.failed, figures.fault) == (2, "connection: reset")
    assert figures.accuracy is not None and figures.accuracy.requests == 1


def test_a_trial_of_failures_alone_has_no_errors_to_show() -> None:
    figures = StreamFigures.of("Triton", 1, 1000, Trial([failure(1, "reset")], 1.0, 0.1, KERNEL))
    assert (figures.accuracy, figures.by_stamps(), figures.server_fell_behind) == (None, (None, None), False)


@pytest.mark.parametrize(("late", "expected"), [(0, False), (5, False), (15, True)])
def test_a_server_that_is_a_gap_late_in_one_response_of_ten_fell_behind(late: int, expected: bool) -> None:
    records = [record(number, number * MS, late_us=1500 if number < late else 10) for number in range(100)]
    assert StreamFigures.of("Triton", 1, 1000, Trial(records, 1.0, 0.1, KERNEL)).server_fell_behind is expected


def test_send_lag_and_the_rate_that_was_achieved() -> None:
    records = [record(number, number * 10 * MS, lag_ns=number * MS, late_us=number) for number in range(11)]
    found = SendLag.of(100, Trial([*records, failure(11, "reset")], 0.1, 0.5, KERNEL))
    assert (found.requests, found.failed, found.cores) == (12, 1, 0.5)
    assert found.achieved_ratio == pytest.approx(100 / 110)
    assert (found.send_lag_ns.min, found.send_lag_ns.max) == (0, 10 * MS)
    assert (found.server_late_ns.count, found.server_late_ns.max) == (11, 10_000)


def test_requests_that_were_never_sent_have_no_lag() -> None:
    never = RequestRecord(1, "s", False, 0, 2, 1, due_ns=5)
    found = SendLag.of(100, Trial([record(0, 0), never], 0.1, 0.05, KERNEL))
    assert (found.failed, found.send_lag_ns.count) == (1, 1)


def test_the_ceiling_counts_by_the_clock_and_by_the_cpu() -> None:
    found = Ceiling.of(16, Trial([record(0, 0, responses=1000)], 2.0, 0.25, KERNEL))
    assert (found.responses_per_s, found.responses_per_cpu_s, found.cores) == (500, 2000, 0.25)
