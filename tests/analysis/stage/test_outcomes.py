from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.columns import columns
from tests.support.synthetic_run import request_of
from trtbench.analysis.stage.outcomes import conservation
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
