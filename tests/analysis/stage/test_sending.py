from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import S, columns, request_of
from trtbench.analysis.stage.sending import sending, users_reached
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import Requests


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


def test_a_wait_for_a_place_is_counted_apart_from_the_lag() -> None:
    waited = [request_of(0, [9 * S], sent_ns=at + 7, admitted_ns=at) for at in (2 * S, 4 * S)]
    found = sending(columns([request_of(0, [S], sent_ns=5), *waited]), open_loop=True)
    assert (found.count, found.lag_p99_ns) == (3, 7)
    assert (found.waited, found.wait_mean_ns, found.wait_max_ns) == (2, 3 * S, 4 * S)
    assert sending(columns([request_of(0, [S], sent_ns=5)]), open_loop=True).waited == 0


def sent(spans: list[tuple[int, int | None]]) -> Requests:
    """A request for each (sent, done)."""
    return columns(request_of(at, [], done_ns=done) for at, done in spans)


def closed_loop(users: int, latencies_ns: list[int], gap_ns: int = 0) -> list[tuple[int, int | None]]:
    """(sent, done) of a loop whose users take the next request `gap_ns` after their last one ended."""
    free = [0] * users
    spans: list[tuple[int, int | None]] = []
    for latency_ns in latencies_ns:
        user = min(range(users), key=free.__getitem__)
        spans.append((free[user], free[user] + latency_ns))
        free[user] += latency_ns + gap_ns
    return spans


@given(st.integers(1, 20), st.lists(st.integers(1, 10**9), min_size=60, max_size=120))
def test_a_loop_without_pauses_reaches_its_users(users: int, latencies_ns: list[int]) -> None:
    assert users_reached(sent(closed_loop(users, latencies_ns)), users) == pytest.approx(users)


@given(st.integers(1, 20), st.integers(1, 10**9))
def test_no_more_requests_than_users_reach_as_many_as_there_are(requests: int, latency_ns: int) -> None:
    assert users_reached(sent(closed_loop(128, [latency_ns] * requests)), 128) == requests


def test_a_client_that_pauses_between_requests_holds_fewer() -> None:
    """Half of each turn is the client's own: half of the users are in flight."""
    assert users_reached(sent(closed_loop(8, [100] * 800, gap_ns=100)), 8) == pytest.approx(4, rel=0.02)


def test_answers_faster_than_the_client_sends() -> None:
    """One request every 10 ns that takes 5 ns: half a user, whatever was asked."""
    assert users_reached(sent([(at * 10, at * 10 + 5) for at in range(1000)]), 128) == pytest.approx(0.5, rel=0.01)


def test_a_request_that_never_ended_stays_in_flight_and_none_is_none() -> None:
    spans: list[tuple[int, int | None]] = [(0, None), *closed_loop(1, [10] * 50)]
    assert users_reached(sent(spans), 2) == pytest.approx(2)
    assert users_reached(sent([]), 4) is None
