from __future__ import annotations

import pytest

from tests.support.columns import columns
from tests.support.synthetic_run import S, request_of
from trtbench.analysis.stage.sending import sending
from trtbench.rundir.records import Outcome


def test_one_late_request_in_a_hundred_does_not_move_the_bound_and_two_do() -> None:
    on_time, late = request_of(0, [1], sent_ns=0), request_of(0, [1], sent_ns=900)
    assert sending(columns([on_time] * 99 + [late]), open_loop=False).lag_p99_ns == 0
    assert sending(columns([on_time] * 98 + [late] * 2), open_loop=False).lag_p99_ns == 900


def test_a_retry_is_no_lag_of_ours_and_what_was_never_sent_has_none() -> None:
    retried = request_of(0, [1], sent_ns=10**9, attempts=2)
    unsent = request_of(0, [], Outcome.NEVER_SENT, sent_ns=None)
    seen = sending(columns([retried, unsent, request_of(0, [1], sent_ns=7, attempts=1)]), open_loop=True)
    assert (seen.count, seen.lag_p99_ns, seen.rate_ratio) == (1, 7, None)
    assert sending(columns([retried]), open_loop=False).lag_p99_ns is None


def test_the_rate_kept_is_of_what_was_sent_beside_what_was_due() -> None:
    late = [request_of(i * S, [i * S], sent_ns=round(i * S * 1.25)) for i in range(11)]
    assert sending(columns(late), open_loop=True).rate_ratio == pytest.approx(0.8)
    assert sending(columns(late), open_loop=False).rate_ratio is None
    same = [request_of(i * S, [i * S], sent_ns=i * S + 5) for i in range(11)]
    assert sending(columns(same), open_loop=True).rate_ratio == 1.0
    assert sending(columns(same[:1]), open_loop=True).rate_ratio is None
