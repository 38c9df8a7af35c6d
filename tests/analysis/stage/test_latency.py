from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns, request_of
from trtbench.analysis.stage.latency import by_mix, by_turn, gaps_ns, latency, tpot_ns, ttft_ns
from trtbench.rundir.records import Outcome, ServerTimes


def test_one_request_by_hand() -> None:
    request = request_of(100, [150, 170, 200], token_counts=[1, 2, 3], sent_ns=110, done_ns=205, server=ServerTimes(112, 120, 148, 198))
    requests = columns([request])
    assert (ttft_ns(requests).tolist(), gaps_ns(requests).tolist(), tpot_ns(requests).tolist()) == ([50], [20, 30], [50 / 5])
    seen = latency(requests)
    assert seen.ttft_ns.mean == 50 and seen.ttft_from_sent_ns.mean == 40
    assert seen.e2e_latency_ns.mean == 105 and seen.e2e_latency_from_sent_ns.mean == 95
    assert seen.send_lag_ns.mean == 10
    assert (seen.itl_ns.min, seen.itl_ns.max, seen.itl_ns.count) == (20, 30, 2)
    assert (seen.itl_per_token_ns.min, seen.itl_per_token_ns.max) == (10, 10)
    assert seen.token_rate_per_user.mean == pytest.approx(1e9 / 10)
    assert (seen.server_queue_ns.mean, seen.server_prefill_ns.mean, seen.server_decode_ns.mean) == (8, 28, 50)
    assert seen.outside_engine_ns.mean == 150 - 110 - (148 - 112)
    whole = request_of(100, [200], token_counts=[6], sent_ns=110, server=ServerTimes(112, 120, 148, 198))
    assert latency(columns([whole])).outside_engine_ns.mean == 200 - 110 - (198 - 112), "what does not stream comes with its last token"


def test_the_first_output_comes_after_the_reasoning() -> None:
    reasoned = request_of(100, [150, 170, 200], sent_ns=110, reasoning_responses=2)
    nothing_but = request_of(100, [150, 170], sent_ns=110, reasoning_responses=2)
    seen = latency(columns([reasoned, nothing_but, request_of(100, [130], sent_ns=110)]))
    assert seen.ttfo_ns and (seen.ttfo_ns.count, seen.ttfo_ns.min, seen.ttfo_ns.max) == (2, 30, 100)
    assert seen.ttft_ns.max == 50
    assert latency(columns([request_of(100, [130])])).ttfo_ns is None, "no request had a reasoning"


@pytest.mark.parametrize(("token_ns", "counts"), [([150], [1]), ([150], [16]), ([], [])])
def test_tpot_is_undefined_when_no_time_was_seen_to_pass(token_ns: list[int], counts: list[int]) -> None:
    assert tpot_ns(columns([request_of(100, token_ns, token_counts=counts)])).tolist() == []


def test_gaps_are_pooled_over_requests_and_not_averaged_first() -> None:
    seen = latency(columns([request_of(0, [0, 10, 20, 30]), request_of(0, [0, 100])]))
    assert seen.itl_ns.count == 4 and seen.itl_ns.mean == round(130 / 4)
    assert seen.tpot_ns.mean == 55


def test_only_completed_requests_have_latencies_but_all_that_were_sent_have_a_lag() -> None:
    failed = request_of(0, [10], Outcome.TIMEOUT, sent_ns=7)
    unsent = request_of(0, [], Outcome.NEVER_SENT, sent_ns=None, done_ns=None)
    seen = latency(columns([failed, unsent]))
    assert seen.ttft_ns.count == seen.e2e_latency_ns.count == seen.itl_ns.count == 0
    assert (seen.send_lag_ns.count, seen.send_lag_ns.max) == (1, 7)


def test_failed_requests_take_infinitely_long_but_not_those_that_were_never_sent_or_that_left_as_planned() -> None:
    answered = [request_of(0, [due]) for due in range(1, 41)]
    unsent = request_of(0, [], Outcome.NEVER_SENT, sent_ns=None, done_ns=None)
    left = request_of(0, [10], Outcome.CANCELLED, planned_cancel=True)
    fine = latency(columns([*answered, unsent, left]))
    assert not fine.has_failures and fine.e2e_latency_all_ns == fine.e2e_latency_ns
    seen = latency(columns([*answered, unsent, left, *[request_of(0, [1], Outcome.TIMEOUT, sent_ns=0)] * 4]))
    assert seen.e2e_latency_ns == fine.e2e_latency_ns
    assert (seen.e2e_latency_all_ns.count, seen.e2e_latency_all_ns.p50) == (44, 22)
    assert seen.e2e_latency_all_ns.infinite == ("max", "mean", "p99", "p99_9")


def test_components_apart() -> None:
    chat = [request_of(0, [10, 30], mix="chat", input_tokens=5), request_of(0, [], Outcome.REJECTED, mix="chat")]
    groups = by_mix(columns([*chat, request_of(0, [100], mix="a")]))
    assert list(groups) == ["a", "chat"]
    assert (groups["chat"].requests, groups["chat"].completed, groups["chat"].ttft_ns.mean, groups["chat"].tpot_ns.mean) == (2, 1, 10, 20)
    assert (groups["chat"].input_tokens.mean, groups["chat"].output_tokens.mean, groups["a"].e2e_latency_ns.mean) == (5, 2, 100)


def test_one_kind_of_request_is_no_mix() -> None:
    assert by_mix(columns([request_of(0, [1])] * 3)) == {} and by_mix(columns([])) == {}


def test_first_turns_beside_later_ones() -> None:
    groups = by_turn(columns([request_of(0, [turn * 10 + 5], session=7, turn=turn) for turn in range(4)] + [request_of(0, [999])]))
    assert groups["first"].ttft_ns.mean == 5
    assert (groups["later"].requests, groups["later"].ttft_ns.mean) == (3, 25)


def test_sessions_of_one_turn_have_nothing_to_compare() -> None:
    assert by_turn(columns([request_of(0, [1], session=session) for session in range(3)])) == {}


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
def test_every_request_is_in_one_group(mixes: list[str]) -> None:
    groups = by_mix(columns([request_of(0, [1], mix=mix) for mix in mixes]))
    assert sum(group.requests for group in groups.values()) == (len(mixes) if len(set(mixes)) > 1 else 0)
