from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of
from trtbench.analysis.stage.outcomes import commonest, conservation
from trtbench.rundir.records import Outcome


@given(st.lists(st.sampled_from(list(Outcome)), max_size=60), st.integers(0, 5))
def test_the_equation_holds_over_any_mix(outcomes: list[Outcome], lost: int) -> None:
    e = conservation(columns([request_of(0, [], outcome) for outcome in outcomes]), len(outcomes) + lost)
    assert e.planned == e.completed + e.failed + e.cancelled + e.timed_out + e.never_sent + e.unrecorded
    assert e.failed == sum(e.failed_by_class.values())
    assert e.holds is (lost == 0)
    assert e.error_ratio is None if not e.planned else 0 <= e.error_ratio <= 1 and e.cancelled_as_planned == 0


def test_what_was_cancelled_as_planned_is_no_error_and_stays_in_the_equation() -> None:
    planned = [request_of(0, [1], Outcome.CANCELLED, planned_cancel=True)] * 3
    before_it = request_of(0, [1], planned_cancel=True)  # it was quicker than its user's patience
    stopped = request_of(0, [1], Outcome.CANCELLED)
    e = conservation(columns([*planned, before_it, stopped]), 5)
    assert (e.completed, e.cancelled, e.cancelled_as_planned) == (1, 4, 3)
    assert e.error_ratio == pytest.approx(1 / 5)


def test_retries_are_the_sendings_beyond_the_first() -> None:
    e = conservation(columns([request_of(0, [1], attempts=n) for n in (0, 1, 2)] + [request_of(0, [], Outcome.CONNECTION, attempts=3)]), 4)
    assert (e.retries, e.completed_by_retry) == (3, 1)


def test_one_record_too_many_is_seen() -> None:
    assert not conservation(columns([request_of(0, [1])] * 3), 2).holds


def test_the_commonest_message_of_each_class_is_kept_short() -> None:
    rejected = [request_of(0, [], Outcome.REJECTED, error=text) for text in ("full", "full", "odd")]
    other = request_of(0, [], Outcome.OTHER, error="x" * 1000)
    messages = conservation(columns([*rejected, other]), 4).messages
    assert messages == {"rejected": "full", "other": "x" * 300}


def _once(*messages: str) -> list[tuple[str, int]]:
    return [(message, 1) for message in messages]


def test_messages_that_differ_by_an_id_are_one() -> None:
    full = [f"[request id: 3f9a0c{index:02x}-c8-m{index}] Exceeds maximum queue size" for index in range(30)]
    assert commonest([*_once(*full), ("CUDA error: out of memory", 29)]) == "[request id: …-c8-m…] Exceeds maximum queue size"


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        ([], ""),
        (["RST_STREAM with INTERNAL_ERROR"], "RST_STREAM with INTERNAL_ERROR"),
        (["limit 8192 met"] * 3, "limit 8192 met"),
        (["limit 8192: prompt of 9000", "limit 8192: prompt of 9001"], "limit 8192: prompt of …"),
        (["at 0x7f3c2a10", "at 0x55d0aa99"], "at 0x…"),
        (["id 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "id 6ba7b811-9dad-11d1-80b4-00c04fd430c8"], "id …"),
        (["id ad246be2-0320-49b7-bd14-08b0a77dc5eb:", "id 1c3fa7d0-beef-4abc-9d1e-f0b0a77dc5eb:"], "id …:"),
        (["req_01HXK3ZQW9 lost", "req_7QWERTYUIO lost"], "req_… lost"),
        (["a defaced facade"] * 2 + ["b 1", "b 2", "b 3"], "b …"),
    ],
)
def test_values_that_are_the_same_in_all_are_kept(messages: list[str], shown: str) -> None:
    assert commonest(_once(*messages)) == shown


def test_counts_are_added_up() -> None:
    assert commonest([("x 1", 2), ("x 2", 2), ("y", 3)]) == "x …"


@given(st.lists(st.text(max_size=30), min_size=1))
def test_a_message_alone_is_shown_as_it_is(messages: list[str]) -> None:
    assert commonest(_once(messages[0])) == messages[0]
    assert isinstance(commonest(_once(*messages)), str)
