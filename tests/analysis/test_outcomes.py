from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import request_of

from trtbench.analysis.outcomes import conservation
from trtbench.records import Outcome


@given(st.lists(st.sampled_from(list(Outcome)), max_size=60), st.integers(0, 5))
def test_the_equation_holds_over_any_mix(outcomes: list[Outcome], lost: int) -> None:
    e = conservation([request_of(0, [], outcome) for outcome in outcomes], len(outcomes) + lost)
    assert e.planned == e.completed + e.failed + e.cancelled + e.timed_out + e.never_sent + e.unrecorded
    assert e.failed == sum(e.failed_by_class.values())
    assert e.holds is (lost == 0)
    assert e.error_ratio is None if not e.planned else 0 <= e.error_ratio <= 1


def test_one_record_too_many_is_seen() -> None:
    assert not conservation([request_of(0, [1])] * 3, 2).holds


def test_the_commonest_message_of_each_class_is_kept_short() -> None:
    rejected = [request_of(0, [], Outcome.REJECTED, error=text) for text in ("full", "full", "odd")]
    other = request_of(0, [], Outcome.OTHER, error="x" * 1000)
    messages = conservation([*rejected, other], 4).messages
    assert messages == {"rejected": "full", "other": "x" * 300}
