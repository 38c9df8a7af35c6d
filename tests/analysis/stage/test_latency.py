from __future__ import annotations

import pytest

from tests.support.columns import columns
from tests.support.synthetic_run import request_of
from trtbench.analysis.stage.latency import gaps_ns, latency, tpot_ns, ttft_ns
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
