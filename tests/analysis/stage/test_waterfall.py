from __future__ import annotations

import random
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import MS, columns, request_of
from trtbench.analysis.stage.batching import TritonBatching
from trtbench.analysis.stage.engine_times import EngineTimes
from trtbench.analysis.stage.latency import Latency
from trtbench.analysis.stage.waterfall import tail_waterfall, waterfall
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.records import ServerTimes
from trtbench.rundir.requests import Requests

TIMES = EngineTimes(4, 2_000, 10_000, 50_000, None, None, None, None)


def latency(**means_ns: float) -> Latency:
    """One request with these latencies."""
    known = {name: Distribution.of([value]) for name, value in means_ns.items()}
    values = {field.name: () if field.name.endswith("curve_ns") else Distribution.of(()) for field in fields(Latency)}
    return Latency(**values | known)  # type: ignore[arg-type]


def batching(queue_mean_ns: int | None) -> TritonBatching:
    return TritonBatching({}, 0, 0, None, None, None, queue_mean_ns)


def test_times_of_each_request_come_before_the_means_of_counters() -> None:
    of_requests = {"server_queue_ns": 3_000, "server_prefill_ns": 7_000, "server_decode_ns": 60_000}
    parts = waterfall(latency(e2e_latency_ns=100_000, e2e_latency_from_sent_ns=95_000, **of_requests), batching(4_000), TIMES)
    assert parts is not None
    assert (parts.total_ns, parts.client_ns, parts.triton_queue_ns) == (100_000, 5_000, 4_000)
    assert (parts.engine_queue_ns, parts.prefill_ns, parts.decode_ns) == (3_000, 7_000, 60_000)
    assert parts.rest_ns == 95_000 - 4_000 - 70_000


@given(
    total=st.integers(0, 10**12),
    lag=st.integers(0, 10**9),
    times=st.builds(EngineTimes, st.just(4), *[st.none() | st.integers(0, 10**12)] * 5, st.none(), st.none()),
    queue=st.none() | st.integers(0, 10**10),
)
def test_the_parts_are_the_whole(total: int, lag: int, times: EngineTimes, queue: int | None) -> None:
    parts = waterfall(latency(e2e_latency_ns=total + lag, e2e_latency_from_sent_ns=total), batching(queue), times)
    if parts is not None:
        known = (parts.front_end_in_ns, parts.triton_queue_ns, parts.engine_queue_ns, parts.prefill_ns, parts.decode_ns)
        assert parts.client_ns + sum(part or 0 for part in (*known, parts.front_end_out_ns)) + parts.rest_ns == parts.total_ns


def test_without_times_of_the_server_nothing_is_split() -> None:
    assert waterfall(latency(e2e_latency_ns=9, e2e_latency_from_sent_ns=9), batching(4), None) is None
    assert waterfall(latency(), None, TIMES) is None


def tailed(count: int, with_server: bool = True) -> Requests:
    """Requests with latencies of 1, 2, ... ms, sent 10 us late; the slowest 2 % wait in the engine for half of their latency, others not
    at all, and each is decoded for a quarter of it.
    """
    found = []
    for number in range(1, count + 1):
        whole = number * MS
        start = whole // 2 if number > 0.98 * count else 0
        server = ServerTimes(0, start, start, start + whole // 4) if with_server else None
        found.append(request_of(0, [whole], sent_ns=10_000, done_ns=whole, server=server))
    random.Random(2).shuffle(found)
    return columns(found)


def test_the_parts_of_the_slowest_are_those_of_the_requests_around_the_p99() -> None:
    tail = tail_waterfall(tailed(1000))
    assert tail is not None and (tail.requests, tail.low_ns, tail.high_ns) == (10, 986 * MS, 995 * MS)
    assert tail.total_ns == 990.5 * MS and tail.client_ns == 10_000
    assert (tail.engine_queue_ns, tail.prefill_ns) == (495_250_000, 0) and tail.decode_ns == 247_625_000
    assert tail.client_ns + (tail.engine_queue_ns or 0) + (tail.decode_ns or 0) + tail.rest_ns == tail.total_ns


def test_a_part_that_is_not_known_of_each_request_is_in_the_rest() -> None:
    tail = tail_waterfall(tailed(1000, with_server=False))
    assert tail is not None and (tail.engine_queue_ns, tail.prefill_ns, tail.decode_ns) == (None, None, None)
    assert tail.rest_ns == tail.total_ns - tail.client_ns


def test_a_p99_of_few_requests_has_no_parts() -> None:
    assert tail_waterfall(tailed(999)) is None
